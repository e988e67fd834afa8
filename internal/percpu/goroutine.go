package percpu

// OnStack reports whether an address lies on the calling goroutine's stack; known is false where
// that can't be found out. The answer is outdated as soon as the stack grows. Any goroutine.
func OnStack(addr uintptr) (on, known bool) {
	lo, hi := stackBounds()
	return lo <= addr && addr < hi, hi != 0
}
