package slub

import "unsafe"

// A TypedLocal is a Local of T values. Copies are the same Local.
type TypedLocal[T any] struct{ local *Local }

// NewLocal makes a Local of Ts; see Cache.NewLocal.
func (t *Typed[T]) NewLocal(objects int) (TypedLocal[T], error) {
	l, err := t.cache.NewLocal(objects)
	return TypedLocal[T]{l}, err
}

// Alloc returns a T with the content that its last owner left; see Local.Alloc.
func (l TypedLocal[T]) Alloc() (*T, error) { return typedAlloc[T](l.local, (*Local).Alloc) }

// typedAlloc gets the function that it calls for the reason that Local.Alloc gives.
func typedAlloc[T any](l *Local, alloc func(*Local) (unsafe.Pointer, error)) (*T, error) {
	p, err := alloc(l)
	return (*T)(p), err
}

// Free frees a T; see Local.Free.
func (l TypedLocal[T]) Free(p *T) { l.local.Free(unsafe.Pointer(p)) }

// AllocZero returns a zeroed T; see Local.AllocZero.
func (l TypedLocal[T]) AllocZero() (*T, error) {
	p, err := l.local.AllocZero()
	return (*T)(p), err
}

// Len returns how many free Ts the Local holds; see Local.Len.
func (l TypedLocal[T]) Len() int { return l.local.Len() }

// Flush gives the free Ts that the Local holds back to the cache; see Local.Flush.
func (l TypedLocal[T]) Flush() { l.local.Flush() }

// Close gives them back and ends the Local; see Local.Close. That of the zero TypedLocal, as
// NewLocal returns it with an error, does nothing.
func (l TypedLocal[T]) Close() {
	if l.local != nil {
		l.local.Close()
	}
}
