//go:build asan && !race

package arena

import "github.com/slubd/slubd/internal/sys"

// The address sanitizer reports every access to a page that is not allocated: from the moment that
// the page is writable until an allocation returns it, and again from Free or Unmap on. Pages that
// were handed out once stay reserved, so that nothing but an arena gets the addresses.

// poison makes accesses to pages that no allocation has reported, and unpoison allows them.
func poison(addr, n uintptr)   { sys.Poison(addr, n) }
func unpoison(addr, n uintptr) { sys.Unpoison(addr, n) }
