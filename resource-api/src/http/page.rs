//! Pages of lists on the wire.

use crate::domain::cursor::Page;
use crate::operations::views::PageView;

/// A page with its rows turned into views.
pub(super) fn page_view<T, V>(page: Page<T>, view: impl Fn(&T) -> V) -> PageView<V> {
    PageView {
        data: page.data.iter().map(view).collect(),
        has_more: page.next_cursor.is_some(),
        next_cursor: page.next_cursor,
    }
}
