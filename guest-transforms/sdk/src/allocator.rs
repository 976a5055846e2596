//! The allocator of every module: that of the standard library, with big blocks aligned to 64 bytes.
//!
//! A chunk from the host arrives in a block of alignment 1, as the canonical ABI asks for. Arrow's buffers
//! lie at multiples of 64 within it, so with an aligned block they can be used where they are; otherwise
//! reading decimals and 64-bit numbers would copy each buffer to a place where it is aligned.

#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};

/// Below this a copy costs less than the space that alignment wastes.
const BIG_BYTES: usize = 1_024;
/// What Arrow recommends for its buffers.
const ALIGNMENT: usize = 64;

struct Aligned;

#[global_allocator]
static ALLOCATOR: Aligned = Aligned;

/// The layout that is really asked for. It depends on the layout alone, so that freeing finds the same again.
#[inline]
fn raised(layout: Layout) -> Layout {
    if layout.size() < BIG_BYTES {
        return layout;
    }
    // Of a size that is almost the whole address space no block is ever had; the original layout then fails.
    layout.align_to(ALIGNMENT).unwrap_or(layout)
}

// SAFETY: every block comes from `System` under `raised(layout)` and goes back to it under `raised` of the
// same layout, because `raised` is a pure function. Size is kept and alignment only grows, so each block fits
// what was asked for. In `realloc` the caller guarantees a non-zero size that does not overflow when rounded
// up to `layout.align()`; the layout made of it is checked again. Where both sizes need the same alignment,
// `System` reallocates under it; where the alignment differs, the bytes common to both blocks move to a fresh
// one before the old one is freed.
unsafe impl GlobalAlloc for Aligned {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; the caller guarantees a non-zero size.
        unsafe { System.alloc(raised(layout)) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above; the caller guarantees a non-zero size.
        unsafe { System.alloc_zeroed(raised(layout)) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above; `block` came from `System` under this layout.
        unsafe { System.dealloc(block, raised(layout)) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_size, layout.align()) else {
            return std::ptr::null_mut();
        };
        let (old, new) = (raised(layout), raised(new_layout));
        if old.align() == new.align() {
            // SAFETY: as above; `block` came from `System` under `old`.
            return unsafe { System.realloc(block, old, new_size) };
        }
        // SAFETY: the new size is not zero; the blocks are distinct, and both hold the bytes that are copied.
        unsafe {
            let fresh = System.alloc(new);
            if !fresh.is_null() {
                std::ptr::copy_nonoverlapping(block, fresh, layout.size().min(new_size));
                System.dealloc(block, old);
            }
            fresh
        }
    }
}
