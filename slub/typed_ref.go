package slub

import "unsafe"

// A Ref is a pointer to a T off-heap, kept as a number. The garbage collector scans neither a Ref
// nor the memory that holds only Refs: a slice of a million Refs costs a collection nothing, a
// slice of a million pointers about 4 ms. The zero Ref is nil. A Ref is valid as long as the
// pointer: until the object is freed. All methods are inlined.
type Ref[T any] struct{ addr uintptr }

// RefOf returns the Ref of an object of a Typed, a Cache, a Prefilled or Malloc. p must not point
// to a Go variable: the collector would not see that the Ref still needs it.
func RefOf[T any](p *T) Ref[T] { return Ref[T]{uintptr(unsafe.Pointer(p))} }

// Ref is RefOf.
func (t *Typed[T]) Ref(p *T) Ref[T] { return RefOf(p) }

// Ptr returns the pointer; nil for the zero Ref.
func (r Ref[T]) Ptr() *T { return *(**T)(unsafe.Pointer(&r)) }

// IsNil reports whether r is the zero Ref.
func (r Ref[T]) IsNil() bool { return r.addr == 0 }
