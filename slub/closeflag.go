package slub

import "sync/atomic"

// A closeFlag is what Close sets and what operations ask that must not lose anything to a Close
// in progress. Such a call is a bug of the caller, but objects must not leak by it.
//
// Neither side takes a lock:
//
//	operation: take objects; load the flag; give the objects back if it is set
//	Close:     store the flag; then count what is in use
//
// If the operation's load misses the store, then it took its objects before the store, and Close
// counts them as in use. Otherwise the operation sees the flag and gives them back. The flag is
// never cleared.
type closeFlag struct{ atomic.Bool }

// whileOpen calls do unless the flag is set, and reports whether the flag is still clear after
// it. If the result is false the caller undoes whatever do has done, which may be nothing. The
// function is inlined, and so is do.
func (f *closeFlag) whileOpen(do func()) bool {
	if f.Load() {
		return false
	}
	do()
	return !f.Load()
}
