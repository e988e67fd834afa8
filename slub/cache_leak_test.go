package slub_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// The error about leaks names the closed aliases whose objects they may be, but no cache that did
// not share the slabs, and only the last few.
func TestLeakNamesAliases(t *testing.T) {
	withoutSamples(t) // an error would list the samples
	needMerging(t)
	a := newArena(t, smallArena)
	first, last := open(t, a, slub.Config{Name: "first", Size: 64}), open(t, a, slub.Config{Name: "last", Size: 64})
	apart := open(t, a, slub.Config{Name: "apart", Size: 64, MinPartial: 5})
	p := take(t, first, 1)[0]
	for i := range 2 * maxListed {
		same(t, "Close", open(t, a, slub.Config{Name: fmt.Sprintf("short-%d", i%9), Size: 64}).Close(), nil)
	}
	same(t, "Close of the first", first.Close(), nil)
	same(t, "Close of one apart", apart.Close(), nil)
	err := last.Close()
	same(t, "Close of the last", err, slub.ErrBusy)
	want := fmt.Sprintf(`slub: objects are still in use: cache "last": 1 object of 64 bytes: %p; some may be of "short-0", "short-1", "short-2", `+
		`"short-3", "short-4", "short-5", "short-6", "first", closed already, with which it shared slabs (Merge)`, p)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	last.Free(p)
	same(t, "Close of the last", last.Close(), nil)
}

// The error distinguishes objects of prefilled sheaves that were not returned.
func TestLeakOfPrefilled(t *testing.T) {
	withoutSamples(t) // an error would list the samples
	c := open(t, nil, slub.Config{Name: "lender", Size: 64, SheafCapacity: 60})
	ps := take(t, c, 3)
	var lent []*slub.Prefilled
	total := 0
	for _, n := range []int{1, 100} { // the second is oversize
		pre, err := c.Prefill(n)
		if err != nil {
			t.Fatal(err)
		}
		lent = append(lent, pre)
		total += pre.Len()
	}
	says := func(want string) {
		t.Helper()
		if n := c.Stats().Prefilled; n != uint64(len(lent)) {
			t.Errorf("%d sheaves count as lent, want %d", n, len(lent))
		}
		err := c.Close()
		same(t, "Close", err, slub.ErrBusy)
		_, lending, _ := strings.Cut(err.Error(), ";")
		if lending != want {
			t.Errorf("no %q in %v", want, err)
		}
	}
	says(fmt.Sprintf(" of these Prefill has lent %d, in 2 sheaves that were not returned", total))
	total -= lent[1].Len()
	lent[1].Return()
	lent = lent[:1]
	says(fmt.Sprintf(" of these Prefill has lent %d, in 1 sheaf that was not returned", total))
	lent[0].Return()
	lent = nil
	says("")
	freeAll(c, ps)
	same(t, "Close", c.Close(), nil)
}

// CloseContext gives up behind a reader before anything is closed.
func TestCloseContext(t *testing.T) {
	d := new(rcu.Domain)
	c := open(t, nil, slub.Config{Name: "held", Size: 64, Domain: d})
	ps := take(t, c, 20)
	reader := d.Register("holder")
	freeRCU(c, ps[:10])
	err := elsewhere(canceled(t), c.CloseContext)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), `slub: cache "held": rcu: reader "holder"`) {
		t.Errorf("behind a reader: %v", err)
	}
	freeAll(c, take(t, c, 100)) // the cache is open
	reader.Offline()
	same(t, "CloseContext with objects in use", c.CloseContext(t.Context()), slub.ErrBusy)
	freeAll(c, ps[10:])
	same(t, "CloseContext that needs no waiting", c.CloseContext(canceled(t)), nil)
	same(t, "CloseContext once more", c.CloseContext(canceled(t)), nil)
	same(t, "CloseContext of nil", (*slub.Cache)(nil).CloseContext(canceled(t)), nil)
}

// The same for Buckets, whose large objects have a queue of their own.
func TestBucketsCloseContext(t *testing.T) {
	d := new(rcu.Domain)
	b := openBuckets(t, nil, slub.BucketsConfig{Domain: d})
	reader := d.Register("holder")
	for _, n := range []int{100, 100_000} {
		p, err := b.Malloc(n)
		if err != nil {
			t.Fatal(err)
		}
		b.FreeRCU(p)
	}
	if err := elsewhere(canceled(t), b.CloseContext); !errors.Is(err, context.Canceled) {
		t.Errorf("behind a reader: %v", err)
	}
	p, err := b.Malloc(100)
	same(t, "Malloc", err, nil)
	b.Free(p)
	reader.Offline()
	same(t, "CloseContext", b.CloseContext(t.Context()), nil)
	same(t, "CloseContext of nil", (*slub.Buckets)(nil).CloseContext(canceled(t)), nil)
}
