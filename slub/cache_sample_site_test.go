package slub_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
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

// So does that of a debug cache with the letter U, or of such Buckets, without a sample. It also
// says how old the oldest object of the call is.
func TestLeakOfDebugNamesCall(t *testing.T) {
	names := regexp.MustCompile(`; 2 allocated by [^ ]*TestLeakOfDebugNamesCall[^ ]* ` +
		`\([^ ]*cache_sample_site_test\.go:\d+\), the oldest (\S+) ago`)
	leaks := func(what string, alloc func() (unsafe.Pointer, error), free func(unsafe.Pointer), close func() error) {
		began := time.Now()
		var ps []unsafe.Pointer
		for range 2 {
			ps = append(ps, must(t)(alloc()))
			time.Sleep(20 * time.Millisecond)
		}
		err := close()
		age, most := time.Duration(-1), time.Since(began)
		if m := names.FindStringSubmatch(fmt.Sprint(err)); m != nil {
			age, _ = time.ParseDuration(m[1])
		}
		if age < 35*time.Millisecond || age > most+10*time.Millisecond {
			t.Errorf("%s: Close: %v, want a call that is %v old", what, err, most)
		}
		for _, p := range ps {
			free(p)
		}
		same(t, "Close", close(), nil)
	}
	c := newCache(t, slub.Config{Name: "calls", Size: 64, Debug: "U", ProfileRate: slub.None})
	leaks("64 bytes", c.Alloc, c.Free, c.Close)
	for _, n := range []int{100_000, 9 << 20} {
		b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "calls", Debug: "U", ProfileRate: slub.None})
		same(t, "NewBuckets", err, nil)
		leaks(fmt.Sprintf("%d bytes", n), func() (unsafe.Pointer, error) { return b.Malloc(n) }, b.Free, b.Close)
	}
}
