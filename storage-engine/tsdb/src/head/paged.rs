//! A growing array in pages: no doubling, so no copy of all and no half-empty memory when it grows. Elements can be taken
//! out; a full page without elements gives its memory back, and positions are never used again.

/// Elements of a page.
const PAGE: usize = 1024;

/// Array that grows at its end and has holes.
pub(crate) struct Paged<T> {
    pages: Vec<Page<T>>,
    len: usize,
}

struct Page<T> {
    elements: Vec<Option<T>>,
    /// Elements that are there.
    live: usize,
}

impl<T> Paged<T> {
    pub(crate) fn new() -> Self {
        Self { pages: Vec::new(), len: 0 }
    }

    /// Positions so far, holes included.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, value: T) {
        if self.len.is_multiple_of(PAGE) {
            self.pages.push(Page { elements: Vec::with_capacity(PAGE), live: 0 });
        }
        let page = self.pages.last_mut().expect("pushed above when full");
        page.elements.push(Some(value));
        page.live += 1;
        self.len += 1;
    }

    /// Leaves holes up to position `len`.
    pub(crate) fn skip_to(&mut self, len: u32) {
        let len = len as usize;
        while self.len < len {
            let in_page = self.len % PAGE;
            let count = (len - self.len).min(PAGE - in_page);
            if in_page == 0 && count == PAGE {
                self.pages.push(Page { elements: Vec::new(), live: 0 });
            } else {
                if in_page == 0 {
                    self.pages.push(Page { elements: Vec::with_capacity(PAGE), live: 0 });
                }
                let page = self.pages.last_mut().expect("pushed above when full");
                page.elements.resize_with(in_page + count, || None);
            }
            self.len += count;
        }
    }

    #[inline]
    pub(crate) fn get(&self, index: u32) -> Option<&T> {
        let index = index as usize;
        self.pages.get(index / PAGE)?.elements.get(index % PAGE)?.as_ref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, index: u32) -> Option<&mut T> {
        let index = index as usize;
        self.pages.get_mut(index / PAGE)?.elements.get_mut(index % PAGE)?.as_mut()
    }

    pub(crate) fn remove(&mut self, index: u32) -> Option<T> {
        let index = index as usize;
        let is_full = (index / PAGE + 1) * PAGE <= self.len;
        let page = self.pages.get_mut(index / PAGE)?;
        let removed = page.elements.get_mut(index % PAGE)?.take()?;
        page.live -= 1;
        if page.live == 0 && is_full {
            page.elements = Vec::new();
        }
        Some(removed)
    }

    /// What is there, with its position, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0u32..).zip(&self.pages).flat_map(|(number, page)| {
            let first = number * u32::try_from(PAGE).expect("a small constant");
            (first..).zip(&page.elements).filter_map(|(index, element)| Some((index, element.as_ref()?)))
        })
    }
}

#[cfg(test)]
mod tests;
