package failslab

import "sync/atomic"

// A Path is a slow path that can take longer. Paths are bits, so that several can be chosen.
type Path uint8

const (
	Refill  Path = 1 << iota // objects are taken from slabs
	NewSlab                  // pages are allocated for a slab
	Flush                    // objects go back to slabs
	Reclaim                  // what FreeRCU took becomes free
	Large                    // a page run or a mapping is allocated or freed
	end

	AllPaths = end - 1
)

// A DelayFunc is called on a slow path of the cache or the Buckets of that name.
type DelayFunc func(path Path, cache string)

var delay atomic.Pointer[DelayFunc]

// SetDelay makes f the function that slow paths call, and returns what was before; nil is none.
func SetDelay(f *DelayFunc) (before *DelayFunc) { return delay.Swap(f) }

// Delaying reports whether a test wants slow paths to take longer, for callers that have to make
// the name.
func Delaying() bool { return delay.Load() != nil }

// Delay is called on a slow path.
func Delay(path Path, cache string) {
	if f := delay.Load(); f != nil {
		(*f)(path, cache)
	}
}
