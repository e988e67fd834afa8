package slub_test

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// Close's error names the call sites of sampled leaks, those with the most samples first.
func TestLeakNamesSite(t *testing.T) {
	withoutSamples(t) // a guarded object is no sample
	c := newCache(t, slub.Config{Name: "leak-sites", Size: 64, ProfileRate: everyObject})
	objs := []unsafe.Pointer{hotSite(t, c), leakySite(t, c), leakySite(t, c)}
	err := c.Close()
	if !errors.Is(err, slub.ErrBusy) {
		t.Fatalf("Close returns %v", err)
	}
	want := regexp.MustCompile(`3 objects .*; sampled: 2 samples from \S+\.leakySite \(\S+cache_sample_test\.go:\d+\), the oldest \S+ ago, 1 sample from \S+\.hotSite `)
	if !want.MatchString(err.Error()) {
		t.Errorf("Close returns %v", err)
	}
	o, ok := slub.Owner(objs[0])
	if s, sampled := o.Sampled(); !ok || !sampled || siteOf(s.Stack) != "hotSite" || s.Since.IsZero() {
		t.Errorf("Owner knows %v, sampled: %v %v", o, sampled, s)
	}
	for _, p := range objs {
		c.Free(p)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if o, ok := slub.Owner(objs[0]); ok {
		t.Errorf("Owner finds %v after the free", o)
	}
}

// A pointer beside a sampled object is no object, however well it is aligned.
func TestBesideSampled(t *testing.T) {
	withoutSamples(t) // a guarded object is no sample
	var reports []hooks.Kind
	cfg := slub.Config{Name: "beside", Size: 64, ProfileRate: everyObject}
	cfg.Hooks.Report = func(r *hooks.Report) { reports = append(reports, r.Kind) }
	c := newCache(t, cfg)
	p := must(t)(c.Alloc())
	if _, ok := slub.Owner(unsafe.Add(p, 64)); ok {
		t.Error("Owner finds an object beside a sampled one")
	}
	c.Free(unsafe.Add(p, 64))
	c.Free(p)
	c.Free(p)
	if want := []hooks.Kind{hooks.MisalignedPointer, hooks.ForeignPointer}; !slices.Equal(reports, want) {
		t.Errorf("mistakes reported: %v, want %v", reports, want)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// Large objects and page classes are sampled as objects are, and are in use until their pages can
// serve another allocation.
func TestLargeSampled(t *testing.T) {
	withoutSamples(t) // a guarded object is no sample
	b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "big", ProfileRate: everyObject, Tag: "large"})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{100, 5000, 40 << 10, 40 << 10, 2 << 20, 8 << 20} {
		p := must(t)(b.Malloc(n))
		q := must(t)(b.Realloc(p, n+n/2)) // in another place, the old one is free
		in, bytes := int64(0), int64(0)
		for _, r := range slub.ReadProfile() {
			if strings.HasPrefix(r.Cache, "big-") && r.Tag == "large" {
				in, bytes = in+r.InUseObjects, bytes+r.InUseBytes
			}
		}
		if in != 1 || bytes < int64(n+n/2) {
			t.Errorf("of %d bytes, %d objects with %d bytes are in use", n, in, bytes)
		}
		b.FreeRCU(q)
		if err := b.Barrier(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range slub.ReadProfile() {
		if strings.HasPrefix(r.Cache, "big-") && (r.InUseObjects != 0 || r.InUseBytes != 0) {
			t.Errorf("%d objects of %s, %d bytes, are in use at the end", r.InUseObjects, r.Cache, r.InUseBytes)
		}
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

// A constructor that panics while AllocBulk makes samples loses no object: all go back, those that
// are samples already too.
func TestSampleBulkPanics(t *testing.T) {
	calls, bad := 0, 0
	c := newCache(t, slub.Config{Name: "bulk-panics", Size: 64, ProfileRate: everyObject, Ctor: func(unsafe.Pointer) {
		if calls++; calls == bad {
			panic("constructor")
		}
	}})
	objs := make([]unsafe.Pointer, 8)
	if err := c.AllocBulk(objs); err != nil { // leaves free objects in a slab
		t.Fatal(err)
	}
	c.FreeBulk(objs)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		bad = calls + len(objs)/2
		_ = c.AllocBulk(objs)
	}()
	for i, p := range objs {
		if p != nil {
			t.Errorf("object %d is %p", i, p)
		}
	}
	if got, st := inUse("bulk-panics"), c.Stats(); got != 0 || st.InUse != 0 {
		t.Errorf("%d samples and %d objects are in use", got, st.InUse)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// While a reader holds a grace period up, the samples of a cache with TypesafeByRCU keep no more
// slabs waiting than there were samples at once.
func TestSampledTypesafeIsBounded(t *testing.T) {
	domain := new(rcu.Domain)
	c := newCache(t, slub.Config{Name: "typesafe-bounded", Size: 64, ProfileRate: everyObject, Flags: slub.TypesafeByRCU, Domain: domain})
	reader := domain.Enter()
	for range 500 {
		c.Free(must(t)(c.Alloc()))
	}
	var retired uint64
	for _, n := range c.Stats().Nodes {
		retired += n.Retired
	}
	if retired > 10 { // one for each node that the goroutine was on
		t.Errorf("%d slabs wait for the grace period", retired)
	}
	reader.Exit()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}
