package slub_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// waits are the allocations that wait for memory, each of which gives back what it gets.
var waits = map[string]func(context.Context, *slub.Cache, *slub.Buckets) error{
	"AllocContext": func(ctx context.Context, c *slub.Cache, _ *slub.Buckets) error {
		return oneOf(c.AllocContext(ctx)).FreeTo(c.Free)
	},
	"MallocContext of a class": func(ctx context.Context, _ *slub.Cache, b *slub.Buckets) error {
		return oneOf(b.MallocContext(ctx, 9000)).FreeTo(b.Free)
	},
	"MallocContext of a page class": func(ctx context.Context, _ *slub.Cache, b *slub.Buckets) error {
		return oneOf(b.MallocContext(ctx, 100_000)).FreeTo(b.Free)
	},
	"MallocContext of a mapping": func(ctx context.Context, _ *slub.Cache, b *slub.Buckets) error {
		return oneOf(b.MallocContext(ctx, maxRun+1)).FreeTo(b.Free)
	},
}

// fullGroup returns a cache and Buckets in the group "tenant" with the parent "all". The group that
// is called full has reached its limit: another cache, in that group itself, has taken all.
func fullGroup(t *testing.T, full string) (level *slub.Group, c *slub.Cache, b *slub.Buckets, filler *slub.Cache, taken []unsafe.Pointer) {
	t.Helper()
	a, d := newArena(t, arena.Config{}), new(rcu.Domain)
	all := newGroup(t, slub.GroupConfig{Name: "all"})
	tenant := newGroup(t, slub.GroupConfig{Name: "tenant", Parent: all})
	level = map[string]*slub.Group{"all": all, "tenant": tenant}[full]
	level.SetLimit(2 * maxRun)
	c = open(t, a, slub.Config{Name: "session", Size: 2048, Domain: d, Group: tenant})
	b = openBuckets(t, a, slub.BucketsConfig{Name: "values", Domain: d, Group: tenant})
	// With a page more behind some slabs there would be room left that others could use.
	filler = open(t, a, slub.Config{Name: "filler", Size: 8192, Hardened: slub.None, Domain: d, Group: level})
	return level, c, b, filler, fillIdle(t, filler)
}

// fillIdle is fillArena that takes what lies idle in the sheaves of other CPUs as well.
func fillIdle(t *testing.T, c *slub.Cache) (ps []unsafe.Pointer) {
	t.Helper()
	for {
		more := fillArena(t, c)
		if len(more) == 0 {
			return ps
		}
		ps = append(ps, more...)
		c.Shrink()
	}
}

// TestGroupContextWaits: at the limit of its group, or at that of the parent, an allocation with a
// context waits. It succeeds when another cache of the group frees its objects, in whichever way.
func TestGroupContextWaits(t *testing.T) {
	for _, full := range []string{"tenant", "all"} {
		t.Run(full, func(t *testing.T) { groupContextWaits(t, full) })
	}
}

func groupContextWaits(t *testing.T, full string) {
	level, c, b, filler, taken := fullGroup(t, full)
	for how, free := range map[string]func([]unsafe.Pointer){
		"FreeBulk":     filler.FreeBulk,
		"FreeRCU":      func(ps []unsafe.Pointer) { freeAllBy(filler.FreeRCU, ps) },
		"FreeDeferred": func(ps []unsafe.Pointer) { freeAllBy(filler.FreeDeferred, ps) },
	} {
		for what, wait := range waits {
			got := make(chan error, 1)
			for tries := 1; ; tries++ {
				before := level.Stats()
				go func() { got <- wait(t.Context(), c, b) }()
				// The third failure shows that the caller has waited twice.
				for level.Stats().Failures < before.Failures+3 && len(got) == 0 {
					runtime.Gosched()
				}
				if len(got) == 0 {
					break
				}
				// Some idle memory may have been in the hands of a timer when the group was filled.
				if err := <-got; err != nil || tries == 100 {
					t.Fatalf("%s has not waited: %v", what, err)
				}
				c.Shrink()
				b.Shrink()
				taken = append(taken, fillIdle(t, filler)...)
			}
			free(taken)
			if err := <-got; err != nil {
				t.Errorf("%s, when the other cache has called %s: %v", what, how, err)
			}
			c.Shrink()
			b.Shrink()
			taken = fillIdle(t, filler)
		}
	}
	freeAllBy(filler.Free, taken)
}

// TestGroupContextEnds: when the context of an allocation that waits at a group's limit ends, the
// error is the context's and the group's, and names the group. What exceeds the limit by itself
// fails without waiting.
func TestGroupContextEnds(t *testing.T) {
	for _, full := range []string{"tenant", "all"} {
		t.Run(full, func(t *testing.T) { groupContextEnds(t, full) })
	}
}

func groupContextEnds(t *testing.T, full string) {
	level, c, b, filler, taken := fullGroup(t, full)
	for what, wait := range waits {
		before := level.Stats()
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan error, 1)
		go func() { got <- wait(ctx, c, b) }()
		for level.Stats().Failures < before.Failures+2 && len(got) == 0 {
			runtime.Gosched()
		}
		cancel()
		err := <-got
		for _, want := range []error{slub.ErrGroupLimit, slub.ErrNoMemory, context.Canceled} {
			same(t, what, err, want)
		}
		var ge *slub.GroupError
		if !errors.As(err, &ge) || ge.Group != c.Group().Name() || ge.Refused != level.Name() || ge.Bytes < mem.PageSize {
			t.Errorf("%s: %#v", what, ge)
		}
		for _, g := range []*slub.Group{c.Group(), level} {
			if name := strconv.Quote(g.Name()); !strings.Contains(fmt.Sprint(err), name) {
				t.Errorf("%s: %v does not name %s", what, err, name)
			}
		}
		if now := level.Stats(); now.Bytes != before.Bytes {
			t.Errorf("%s: %d bytes were charged before, %d after", what, before.Bytes, now.Bytes)
		}
	}
	freeAllBy(filler.Free, taken)
	if _, err := b.MallocContext(t.Context(), 4*maxRun); refusedBy(err) != level {
		t.Errorf("more than the limit: %v", err)
	}
	level.SetLimit(slub.None)
	if _, err := c.AllocContext(t.Context()); refusedBy(err) != level {
		t.Errorf("with no limit left: %v", err)
	}
}
