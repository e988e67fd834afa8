package slub

import (
	"math"
	"unsafe"

	"github.com/slubd/slubd/internal/invariants"
)

// Realloc is Buckets.Realloc with an object that is charged to the Account. The result is p itself
// if n bytes fit there, charged as before. Otherwise it is what Malloc returns, with the content of
// p, and p is freed as by Free: the Account is charged for the new object alone. While the content
// is copied it is charged for both, so the limit must have room for both. p may be charged to
// another Account, or to none. The goroutine that may call Malloc may call it. On error p is
// unchanged, and charged as before. (Kernel: krealloc with __GFP_ACCOUNT.)
//
// Errors: Malloc's; ErrForeign, after a report, for a pointer that the Buckets did not return.
func (a *Account) Realloc(p unsafe.Pointer, n int) (unsafe.Pointer, error) {
	switch {
	case isNothing(p):
		return a.Malloc(n)
	case n == 0:
		a.Free(p)
		return nothing()
	}
	if invariants.Enabled {
		a.state.use()()
	}
	b := a.state.buckets
	room, fits, err := b.fit(p, math.MaxInt, n, false)
	switch {
	case err != nil:
		return nil, err
	case fits:
		return p, nil
	}
	q, err := a.Malloc(n)
	if err != nil {
		return nil, err
	}
	b.move(p, q, room, n, room, a.Free)
	return q, nil
}
