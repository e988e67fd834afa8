package slub

import (
	"context"
	"errors"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
)

// While a cache is being made its group can't be closed, and a failed New lets go of it.
func TestGroupWhileCacheIsMade(t *testing.T) {
	g, err := NewGroup(GroupConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if !g.admit() {
		t.Fatal("not admitted")
	}
	if err := g.Close(); !errors.Is(err, ErrGroupBusy) {
		t.Error(err)
	}
	g.dismiss()
	if err := g.Close(); err != nil || g.admit() {
		t.Errorf("%v, or a closed group has admitted a member", err)
	}
}

// A group is charged for exactly what the arena has handed out to its members, whatever state it
// is in, and so is its parent.
func TestGroupIsChargedForPages(t *testing.T) {
	withoutSamples(t) // it counts objects by where they are
	for name, cfg := range map[string]arena.Config{
		"exact": {Span: 128 * mib}, "powers of two": {Span: 128 * mib, Populate: true},
	} {
		t.Run(name, func(t *testing.T) { groupIsChargedForPages(t, newArena(t, cfg)) })
	}
}

func groupIsChargedForPages(t *testing.T, a *arena.Arena) {
	ctx := context.Background()
	parent := newGroup(t, GroupConfig{Name: "parent"})
	g := newGroup(t, GroupConfig{Name: "child", Parent: parent})
	d := new(rcu.Domain)
	typesafe := open(t, a, Config{Size: 256, Flags: TypesafeByRCU, MinPartial: None, Domain: d, Group: g})
	bare := open(t, a, Config{Size: 3000, Flags: NoSheaves, Group: parent})
	DelaySweep() // it would change the two figures that are compared one after the other
	b := openBuckets(t, a, BucketsConfig{Group: g, Domain: d})
	inParent := int64(0)
	equal := func(when string) {
		t.Helper()
		if s := parent.Stats(); s.Bytes != a.InUse() || s.Peak < s.Bytes {
			t.Errorf("%s: the arena has handed out %d bytes, the parent is charged %+v", when, a.InUse(), s)
		}
		if s := g.Stats(); s.Bytes != a.InUse()-inParent {
			t.Errorf("%s: the arena has handed out %d bytes, %d to the parent's own; charged are %d", when, a.InUse(), inParent, s.Bytes)
		}
	}
	equal("at first")
	own := take(t, bare, 100)
	inParent = a.InUse()
	equal("objects of the parent's cache")
	ps := take(t, typesafe, 1000)
	equal("objects of TypesafeByRCU")
	r := d.Register("reader")
	typesafe.FreeBulk(ps)
	typesafe.shrinkSlabs()
	equal("slabs that wait for a grace period")
	r.Offline()
	if err := typesafe.barrierPages(ctx); err != nil {
		t.Error(err)
	}
	equal("slabs that have waited")
	r.Online()
	for _, n := range []int{1, 3000, maxClass, maxClass + 1, 100_000, maxRun, maxRun + 1, 3*maxRun + 5000} {
		for how, free := range map[string]func(unsafe.Pointer){"Free": b.Free, "FreeRCU": b.FreeRCUNoWait, "FreeDeferred": b.FreeDeferred} {
			p := malloc(t, b, n)
			equal("a value")
			free(p)
			equal("a value given to " + how)
		}
	}
	r.Close()
	if err := b.Barrier(ctx); err != nil {
		t.Error(err)
	}
	equal("after a grace period")
	b.Shrink()
	equal("after Shrink")
	freeAll(bare, own)
	bare.Shrink()
	inParent = 0
	equal("without the parent's objects")
}

// Near the limit of a level, refills look at other nodes before they make slabs.
func TestGroupNearLimit(t *testing.T) {
	parent := newGroup(t, GroupConfig{Limit: 32 * mib})
	g := newGroup(t, GroupConfig{Limit: 16 * mib, Parent: parent})
	for _, c := range []struct {
		parent, child int64 // limits in MiB
		near          bool
	}{{32, 16, false}, {32, 9, true}, {9, 16, true}, {Unlimited / mib, Unlimited / mib, false}} {
		parent.SetLimit(c.parent * mib)
		g.SetLimit(c.child * mib)
		if err := g.charge(9*mib - mib/2); err != nil {
			t.Fatal(err)
		}
		if got := g.nearLimit(); got != c.near {
			t.Errorf("with limits of %d and %d MiB: near %t", c.parent, c.child, got)
		}
		g.uncharge(9*mib - mib/2)
	}
	if (*Group)(nil).nearLimit() {
		t.Error("no group is near its limit")
	}
}
