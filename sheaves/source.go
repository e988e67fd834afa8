package sheaves

import "unsafe"

// A Source is the layer below: where objects come from when the barn has none and
// go when it has its fill. slub implements it with slabs. Its methods are called
// without any lock of this package that is ever waited for, from any goroutine,
// several at a time.
type Source interface {
	// Refill stores up to len(dst) free objects in dst, preferably of the node with
	// the given index, and returns how many. Fewer than asked means memory is short.
	Refill(node int, dst []unsafe.Pointer) int
	// Flush takes objects that have passed the free hooks. It may reorder objs.
	Flush(objs []unsafe.Pointer)
	// Expire is given objects whose grace period is over. It runs the destructor
	// and the free hooks on each and moves those that are free now to the front;
	// it returns how many. The others are its own business; all are if it doesn't return,
	// as when a destructor ends the goroutine.
	Expire(objs []unsafe.Pointer) (kept int)
}
