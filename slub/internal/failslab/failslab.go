// Package failslab lets tests make allocations fail: package slub asks it at the beginning of its
// slow paths.
//
// # Place in the data flow
//
//	slubtest.FailAlloc -> [Set]
//	slub.Alloc (slow path) -> [Injected] -> the function that Set was given
//
// Only caches whose allocations all take the slow path are asked for each: sampling.SampleAll makes
// them so. A program without such a test pays an atomic load in a slow path.
//
// # Locks
//
// None. The function that Set is given may be called by any goroutine, and takes no lock of slub's.
package failslab

import "sync/atomic"

// A Func reports whether an allocation of objects with the given number of bytes in all is to fail.
type Func func(cache string, bytes int64) bool

var hook atomic.Pointer[Func]

// Set makes f the function that is asked, and returns what was before; nil is none.
func Set(f *Func) (before *Func) { return hook.Swap(f) }

// Injected reports whether an allocation is to fail.
func Injected(cache string, bytes int64) bool {
	f := hook.Load()
	return f != nil && (*f)(cache, bytes)
}
