//go:build race || !asan

package arena

// poison and unpoison tell the address sanitizer of pages that are allocated and free.
func poison(addr, n uintptr)   {}
func unpoison(addr, n uintptr) {}
