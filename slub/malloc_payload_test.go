//go:build !race

package slub_test

// With -race these tests would clear gigabytes. They have one goroutine each.

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A cacheValue is one entry of a boundedCache, with the number of bytes that were asked for.
type cacheValue struct {
	p     unsafe.Pointer
	bytes int
}

// A boundedCache keeps values of log-uniform sizes from 8 bytes to 1 MiB. When there is no memory
// for a new one, it frees some at random, until there is.
type boundedCache struct {
	t       *testing.T
	buckets *slub.Buckets
	rng     *rand.Rand
	values  []cacheValue
	payload int    // bytes asked for
	refused func() // called before anything is freed
}

func (c *boundedCache) put() {
	n := int(8 * math.Exp(c.rng.Float64()*math.Log(mib/8)))
	for {
		p, err := c.buckets.Malloc(n)
		if err == nil {
			c.values = append(c.values, cacheValue{p, n})
			c.payload += n
			return
		}
		if !errors.Is(err, slub.ErrNoMemory) || len(c.values) == 0 {
			c.t.Fatal(err)
		}
		c.refused()
		c.evict()
	}
}

func (c *boundedCache) evict() {
	i, last := c.rng.IntN(len(c.values)), len(c.values)-1
	c.buckets.Free(c.values[i].p)
	c.payload -= c.values[i].bytes
	c.values[i] = c.values[last]
	c.values = c.values[:last]
}

// TestPayloadOfBoundedCache: of an arena's limit, at least 88 % are bytes that the program asked
// for whenever an allocation is refused, also after values of all sizes have come and gone.
//
// Of this limit, 93 % are payload. By 4 % page runs are larger than their values (runBytes), and
// by 2 to 3 % the slabs of size classes, because they are partly used and because sizes are rounded
// up; what is free is less than the refused value. Slabs are a few for each class, whatever the
// limit: with 64 MiB, 87 to 91 % are payload, with 16 MiB 77 to 90 %.
func TestPayloadOfBoundedCache(t *testing.T) {
	const limit, least, puts = 256 * mib, 0.88, 6000
	a := newArena(t, arena.Config{Limit: limit, Span: 4 * limit})
	c := &boundedCache{
		t: t, rng: rand.New(rand.NewPCG(1, 2)),
		buckets: openBuckets(t, a, slub.BucketsConfig{Domain: new(rcu.Domain)}),
	}
	refusals, worst := 0, 1.0
	c.refused = func() {
		refusals++
		share := float64(c.payload) / limit
		if share < least {
			t.Fatalf("refusal %d: %.1f %% of the limit are payload: %d values in %+v", refusals, 100*share, len(c.values), a.Stats())
		}
		worst = min(worst, share)
	}
	for range puts {
		c.put()
	}
	if refusals < puts/4 {
		t.Errorf("%d values were put into the cache, and %d allocations refused: it was hardly full", puts, refusals)
	}
	t.Logf("%d refusals, at least %.1f %% of the limit are payload", refusals, 100*worst)
	for len(c.values) > 0 {
		c.evict()
	}
}
