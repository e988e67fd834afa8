//go:build !race && !invariants && !asan

package slub_test

import (
	"testing"

	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/slub"
)

// Growing takes nothing from the Go heap: where grace periods last, every 64th object comes with
// a new slab.
func TestNewSlabsAllocateNothing(t *testing.T) {
	withoutSamples(t) // a sample takes Go memory
	c := open(t, nil, slub.Config{Size: 64, Flags: slub.NoSheaves})
	freeAll(c, take(t, c, 1000)) // whatever is made once
	slabs := func() { freeAll(c, take(t, c, 10_000)) }
	if n := testutil.GoAllocs(5, slabs); n > 10 {
		t.Errorf("%v allocations for some 150 new slabs", n)
	}
}
