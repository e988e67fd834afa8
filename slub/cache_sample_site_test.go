package slub_test

import (
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/slub"
)

// leak is a way to leave objects of Buckets in use. It returns what frees them.
type leak func(t *testing.T, b *slub.Buckets, c *slub.Cache) (free func())

var leaks = map[string]leak{
	"AllocBulk": func(t *testing.T, _ *slub.Buckets, c *slub.Cache) func() {
		var ps [4]unsafe.Pointer
		same(t, "AllocBulk", c.AllocBulk(ps[:]), nil)
		return func() { c.FreeBulk(ps[:]) }
	},
	"MallocBulk": func(t *testing.T, b *slub.Buckets, _ *slub.Cache) func() {
		var ps [4]unsafe.Pointer
		same(t, "MallocBulk", b.MallocBulk(64, ps[:]), nil)
		return func() { b.FreeBulk(ps[:]) }
	},
	"Prefill": func(t *testing.T, _ *slub.Buckets, c *slub.Cache) func() {
		lent, err := c.Prefill(4)
		same(t, "Prefill", err, nil)
		return lent.Return
	},
	"Account": func(t *testing.T, b *slub.Buckets, _ *slub.Cache) func() {
		a, err := b.NewAccount(slub.AccountConfig{})
		same(t, "NewAccount", err, nil)
		if _, err = a.Malloc(64); err != nil {
			t.Fatal(err)
		}
		return func() { a.Close() }
	},
	"Local": func(t *testing.T, _ *slub.Buckets, c *slub.Cache) func() {
		l := newLocal(t, c, 0)
		p := must(t)(l.Alloc())
		return func() { l.Free(p); l.Close() }
	},
	"large": func(t *testing.T, b *slub.Buckets, _ *slub.Cache) func() {
		p := must(t)(b.Malloc(100_000))
		return func() { b.Free(p) }
	},
	"mapping": func(t *testing.T, b *slub.Buckets, _ *slub.Cache) func() {
		p := must(t)(b.Malloc(9 << 20))
		return func() { b.Free(p) }
	},
}

// Close's error names the first line outside the allocator, whichever way an object was allocated.
func TestLeakNamesUsersLine(t *testing.T) {
	withoutSamples(t) // a guarded object is no sample
	for name, leave := range leaks {
		t.Run(name, func(t *testing.T) {
			b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "lines", ProfileRate: everyObject})
			same(t, "NewBuckets", err, nil)
			c := newCache(t, slub.Config{Name: "lines", Size: 64, ProfileRate: everyObject})
			free := leave(t, b, c)
			said := ""
			for _, err := range []error{c.Close(), b.Close()} {
				if err != nil {
					said += err.Error()
				}
			}
			if strings.Count(said, "sampled: ") != 1 || !strings.Contains(said, "cache_sample_site_test.go:") {
				t.Errorf("Close: %s", said)
			}
			free()
			same(t, "Close", c.Close(), nil)
			same(t, "Close", b.Close(), nil)
		})
	}
}

// So does that of debug Buckets with the letter U, without a sample.
func TestLeakOfLargeNamesCall(t *testing.T) {
	for _, n := range []int{100_000, 9 << 20} {
		b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "calls", Debug: "U", ProfileRate: slub.None})
		same(t, "NewBuckets", err, nil)
		p := must(t)(b.Malloc(n))
		if err = b.Close(); err == nil || !strings.Contains(err.Error(), "; 1 allocated by ") || !strings.Contains(err.Error(), "cache_sample_site_test.go:") {
			t.Errorf("%d bytes: Close: %v", n, err)
		}
		b.Free(p)
		same(t, "Close", b.Close(), nil)
	}
}
