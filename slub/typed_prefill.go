package slub

import (
	"unsafe"

	"github.com/slubd/slubd/numa"
)

// A TypedPrefilled is a Prefilled of T values: one goroutine at a time may use it, and it must be
// returned before the cache is closed. Copies are the same loan. Alloc and Free are a few
// instructions of inlined Go.
type TypedPrefilled[T any] struct{ pre *Prefilled }

// Prefill lends a sheaf with at least n Ts, n > 0; see Cache.Prefill.
func (t *Typed[T]) Prefill(n int) (TypedPrefilled[T], error) {
	pre, err := t.cache.Prefill(n)
	return TypedPrefilled[T]{pre}, err
}

// PrefillNode lends a sheaf with at least n Ts of a node, n > 0; see Cache.PrefillNode.
func (t *Typed[T]) PrefillNode(n int, node numa.Node) (TypedPrefilled[T], error) {
	pre, err := t.cache.PrefillNode(n, node)
	return TypedPrefilled[T]{pre}, err
}

// Len returns how many Ts are left; see Prefilled.Len.
func (p TypedPrefilled[T]) Len() int { return p.pre.Len() }

// Alloc returns a T with the content that its last owner left, or nil if none is left; see
// Prefilled.Alloc.
func (p TypedPrefilled[T]) Alloc() *T { return (*T)(p.pre.Alloc()) }

// Free puts a T back into the sheaf and reports whether it did; see Prefilled.Free.
func (p TypedPrefilled[T]) Free(obj *T) bool { return p.pre.Free(unsafe.Pointer(obj)) }

// Refill makes the sheaf hold at least n Ts; see Prefilled.Refill.
func (p TypedPrefilled[T]) Refill(n int) error { return p.pre.Refill(n) }

// Return ends the loan and gives back the Ts left; see Prefilled.Return. That of the zero
// TypedPrefilled, as Prefill returns it with an error, does nothing.
func (p TypedPrefilled[T]) Return() {
	if p.pre != nil {
		p.pre.Return()
	}
}
