package sheaves

import "unsafe"

// A Source is the layer below a Set: where objects come from when the sheaves have none, and where
// they go when the sheaves have enough. slub's is a cache's slabs; ExampleNew has one of a page or
// two. Any goroutine may be the caller, several at a time. They hold no lock of this package that
// an operation ever waits for, but destructors and hooks that a Source calls may run while a Close,
// a Flush or a Barrier waits, and must not call these.
//
// Refill, Flush and Reclaim may call functions that panic or end the goroutine. If one of them
// doesn't return, the objects are the Source's: those that Refill has stored in dst, and those that
// the other two were given.
type Source interface {
	// Refill stores up to len(dst) free objects in dst, preferably of the node with the given
	// index, or with strict of that node only, and returns how many. Fewer than asked for means
	// that memory is short. A Set of one node never sets strict.
	Refill(node int, dst []unsafe.Pointer, strict bool) int
	// Flush takes objects back that are free. It may reorder objs.
	Flush(objs []unsafe.Pointer)
	// Reclaim is given objects of FreeRCU whose grace period is over. It runs what has to run
	// before an object can be allocated again, such as a destructor, moves those that are free now
	// to the front of objs, and returns how many. The others are the Source's.
	Reclaim(objs []unsafe.Pointer) (kept int)
	// NodeOf returns the index of the node that an object lies on. It is not called for Sets of one
	// node.
	NodeOf(obj unsafe.Pointer) int
}
