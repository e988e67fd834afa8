// Package failslab lets tests make allocations fail, and slow paths take longer: package slub asks
// it in its slow paths.
//
// # Place in the data flow
//
//	slubtest.FailAlloc -> [Set]
//	slub.Alloc (slow path) -> [Injected] -> the function that Set was given
//
//	slubtest.DelaySlowPaths -> [SetDelay]
//	slub (slow paths) -> [Delay] -> the function that SetDelay was given, which may sleep
//
// Only caches whose allocations all take the slow path are asked for each whether it fails:
// sampling.SampleAll makes them so. A program without such a test pays an atomic load in a slow
// path.
//
// # Locks
//
// None. The functions that Set and SetDelay are given may be called by any goroutine, and take no
// lock of slub's. The callers of Delay hold no lock that another operation of a cache's user waits
// for, apart from those of Close, Shrink, SetSheafCapacity and the trimming of idle sheaves.
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
