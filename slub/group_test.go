package slub_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

func TestGroupConfigErrors(t *testing.T) {
	parent := newGroup(t, slub.GroupConfig{Name: "parent"})
	child := newGroup(t, slub.GroupConfig{Name: "child", Parent: parent})
	closed, err := slub.NewGroup(slub.GroupConfig{Name: "closed"})
	if err := errors.Join(err, closed.Close()); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]slub.GroupConfig{
		`group "a b": GroupConfig.Name: "a b"`: {Name: "a b"},
		`group "x": GroupConfig.Limit: -2`:     {Name: "x", Limit: -2},
		`has a parent itself`:                  {Parent: child},
		`GroupConfig.Parent: "closed" is clos`: {Parent: closed},
	} {
		if _, err := slub.NewGroup(cfg); !errors.Is(err, slub.ErrConfig) || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	a := newArena(t, arena.Config{})
	if _, err := slub.New(a, slub.Config{Name: "late", Size: 8, Group: closed}); !errors.Is(err, slub.ErrConfig) || !strings.Contains(err.Error(), `cache "late": Config.Group: "closed" is closed`) {
		t.Errorf("a cache of a closed group: %v", err)
	}
	if _, err := slub.NewBuckets(a, slub.BucketsConfig{Group: closed}); !errors.Is(err, slub.ErrConfig) {
		t.Errorf("Buckets of a closed group: %v", err)
	}
}

// Open groups have names of their own, and a failed NewGroup takes none.
func TestGroupNames(t *testing.T) {
	closed, _ := slub.NewGroup(slub.GroupConfig{Name: "namesake"})
	if err := errors.Join(closed.Close(), closed.Close(), (*slub.Group)(nil).Close()); err != nil {
		t.Error(err)
	}
	var names []string
	for range 3 {
		names = append(names, newGroup(t, slub.GroupConfig{Name: "namesake"}).Name())
		if _, err := slub.NewGroup(slub.GroupConfig{Name: "namesake", Parent: closed}); err == nil {
			t.Error("a child of a closed group")
		}
	}
	if got := strings.Join(names, " "); got != "namesake namesake#2 namesake#3" {
		t.Error(got)
	}
	var open []string
	for g := range slub.Groups() {
		if strings.HasPrefix(g.Name(), "namesake") {
			open = append(open, g.Name())
		}
	}
	if !slices.Equal(open, names) {
		t.Errorf("Groups yields %v", open)
	}
}

// A group is not closed while something belongs to it, and can be as soon as nothing does.
func TestGroupCloseWithMembers(t *testing.T) {
	g, err := slub.NewGroup(slub.GroupConfig{Name: "tenant"})
	if err != nil {
		t.Fatal(err)
	}
	child, err := slub.NewGroup(slub.GroupConfig{Name: "part", Parent: g})
	if err != nil {
		t.Fatal(err)
	}
	a := newArena(t, arena.Config{})
	busy := func(names ...string) {
		t.Helper()
		err := g.Close()
		if !errors.Is(err, slub.ErrGroupBusy) {
			t.Errorf("with %v: %v", names, err)
			return
		}
		for _, name := range names {
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%v does not name %v", err, name)
			}
		}
	}
	busy(`group "part"`)
	if err := child.Close(); err != nil {
		t.Error(err)
	}
	c, _ := slub.New(a, slub.Config{Name: "session", Size: 8, Group: g})
	b, _ := slub.NewBuckets(a, slub.BucketsConfig{Name: "values", Group: g})
	busy(`"session"`, `"values"`)
	if got := g.Stats(); got.Caches != 1+numClasses || got.Buckets != 1 || got.Groups != 0 {
		t.Errorf("%+v", got)
	}
	if n := len(slices.Collect(g.Caches())); n != 1+numClasses || c.Group() != g || b.Group() != g {
		t.Errorf("Caches yields %d", n)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	p := take(t, c, 1)[0]
	if err := c.Close(); !errors.Is(err, slub.ErrBusy) {
		t.Error(err)
	}
	busy(`"session"`)
	c.Free(p)
	if err := errors.Join(c.Close(), g.Close()); err != nil {
		t.Error(err)
	}
	for open := range slub.Groups() {
		if open == g || open == child {
			t.Errorf("%q is open", open.Name())
		}
	}
}

// Caches share slabs within one group only.
func TestMergeWithinGroup(t *testing.T) {
	a := newArena(t, arena.Config{})
	one, two := newGroup(t, slub.GroupConfig{}), newGroup(t, slub.GroupConfig{})
	cfg := slub.Config{Size: 64, Flags: slub.Merge, Domain: new(rcu.Domain)}
	var all []*slub.Cache
	for _, g := range []*slub.Group{nil, one, two, one} {
		cfg.Group = g
		all = append(all, open(t, a, cfg))
	}
	for i, want := range []int{0, 1, 0, 1} {
		if got := all[i].Aliases(); got != want {
			t.Errorf("cache %d has %d aliases, want %d", i, got, want)
		}
	}
	if s := one.Stats(); s.Caches != 1 {
		t.Errorf("two caches that share slabs are %d members", s.Caches)
	}
	// The first one is the older; the second has to keep the group busy.
	if err := all[1].Close(); err != nil {
		t.Error(err)
	}
	if err := one.Close(); !errors.Is(err, slub.ErrGroupBusy) {
		t.Error(err)
	}
}

// Every way to allocate fails at the limit of the group and at that of its parent, with an error
// that names both, and nothing is charged for what has failed.
func TestGroupLimit(t *testing.T) {
	withoutSamples(t) // it fills memory to a limit
	const limit = 64 * mem.PageSize
	alloc := map[string]func(b *slub.Buckets, c *slub.Cache) error{
		"Alloc":     func(_ *slub.Buckets, c *slub.Cache) error { return oneOf(c.Alloc()).FreeTo(c.Free) },
		"AllocZero": func(_ *slub.Buckets, c *slub.Cache) error { return oneOf(c.AllocZero()).FreeTo(c.Free) },
		"AllocNode": func(_ *slub.Buckets, c *slub.Cache) error {
			return oneOf(c.AllocNode(c.Arena().Topology().Nodes()[0])).FreeTo(c.Free)
		},
		"AllocBulk": func(_ *slub.Buckets, c *slub.Cache) error { return c.AllocBulk(make([]unsafe.Pointer, 10)) },
		"Prefill": func(_ *slub.Buckets, c *slub.Cache) error {
			_, err := c.Prefill(10)
			return err
		},
		"a class": func(b *slub.Buckets, _ *slub.Cache) error { return oneOf(b.Malloc(9000)).FreeTo(b.Free) },
		"a run":   func(b *slub.Buckets, _ *slub.Cache) error { return oneOf(b.MallocZero(100_000)).FreeTo(b.Free) },
		"MallocNode": func(b *slub.Buckets, c *slub.Cache) error {
			return oneOf(b.MallocNode(100_000, c.Arena().Topology().Nodes()[0])).FreeTo(b.Free)
		},
		"a mapping": func(b *slub.Buckets, _ *slub.Cache) error { return oneOf(b.Malloc(2 * maxRun)).FreeTo(b.Free) },
	}
	for _, refuses := range []string{"tenant", "all"} {
		t.Run(refuses, func(t *testing.T) {
			a := newArena(t, arena.Config{})
			all := newGroup(t, slub.GroupConfig{Name: "all"})
			tenant := newGroup(t, slub.GroupConfig{Name: "tenant", Parent: all})
			level := map[string]*slub.Group{"tenant": tenant, "all": all}[refuses]
			level.SetLimit(limit)
			c := open(t, a, slub.Config{Name: "session", Size: 1024, Group: tenant})
			b := openBuckets(t, a, slub.BucketsConfig{Group: tenant})
			ps := fillArena(t, c)
			if s := level.Stats(); s.Bytes > limit || s.Bytes <= limit-mem.PageSize || s.Failures != 1 {
				t.Errorf("full: %+v", s)
			}
			for how, alloc := range alloc {
				bytes, failures := a.InUse(), level.Stats().Failures
				err := alloc(b, c)
				var ge *slub.GroupError
				if !errors.Is(err, slub.ErrGroupLimit) || !errors.Is(err, slub.ErrNoMemory) || !errors.As(err, &ge) {
					t.Errorf("%s: %v", how, err)
					continue
				}
				if ge.Group != "tenant" || ge.Refused != refuses || ge.Limit != limit || ge.InUse > limit || ge.InUse+ge.Bytes <= limit {
					t.Errorf("%s: %+v", how, ge)
				}
				if !strings.Contains(err.Error(), `"tenant"`) || !strings.Contains(err.Error(), `"`+refuses+`"`) {
					t.Errorf("%s: %v", how, err)
				}
				if s := level.Stats(); s.Failures != failures+1 || s.Bytes != bytes || a.InUse() != bytes {
					t.Errorf("%s: %d failures, %d bytes became %+v", how, failures, bytes, s)
				}
			}
			if _, err := c.Prefill(limit); !errors.Is(err, slub.ErrPrefill) {
				t.Errorf("more than the group may have: %v", err)
			}
			if n := a.Stats().Reclaim.Rounds; n != 0 {
				t.Errorf("%d rounds of the arena", n)
			}
			freeAll(c, ps)
			level.SetLimit(0)
			if level.Limit() != slub.Unlimited {
				t.Error("0 is not automatic")
			}
			c.FreeBulk(take(t, c, 2*len(ps)))
		})
	}
}

// With None nothing can be allocated, and no other group is concerned.
func TestGroupLimitNone(t *testing.T) {
	a := newArena(t, arena.Config{})
	parent := newGroup(t, slub.GroupConfig{})
	none := newGroup(t, slub.GroupConfig{Parent: parent, Limit: slub.None})
	c := open(t, a, slub.Config{Size: 64, Group: none})
	if _, err := c.Alloc(); !errors.Is(err, slub.ErrGroupLimit) || none.Limit() != 0 {
		t.Error(err)
	}
	other := open(t, a, slub.Config{Size: 64, Group: parent})
	other.FreeBulk(take(t, other, 1000))
	none.SetLimit(0)
	c.FreeBulk(take(t, c, 1000))
	if s := none.Stats(); s.Peak == 0 || s.Limit != slub.Unlimited || s.Parent != parent.Name() {
		t.Errorf("%+v", s)
	}
}

// What no arena can give is refused as ever, and bothers no other allocation of the group.
func TestGroupHugeValue(t *testing.T) {
	g := newGroup(t, slub.GroupConfig{})
	for _, letters := range []string{"-", "FZ"} {
		b := openBuckets(t, nil, slub.BucketsConfig{Group: g, Debug: letters})
		for _, n := range []int{1<<63 - 1, 1<<63 - mem.PageSize, 1 << 62, arena.MaxMapping + 1} {
			if _, err := b.Malloc(n); !errors.Is(err, arena.ErrTooLarge) {
				t.Errorf("Debug %q, %d bytes: %v", letters, n, err)
			}
		}
	}
	if s := g.Stats(); s.Peak != 0 || s.Bytes != 0 {
		t.Errorf("%+v", s)
	}
}

// Owner leads to the group.
func TestOwnerKnowsGroup(t *testing.T) {
	a := newArena(t, arena.Config{})
	g := newGroup(t, slub.GroupConfig{})
	b := openBuckets(t, a, slub.BucketsConfig{Group: g})
	for kind, n := range kinds {
		p := malloc(t, b, n)
		if o, ok := slub.Owner(p); !ok || o.Group != g {
			t.Errorf("%s: %+v", kind, o)
		}
		b.Free(p)
	}
}

// A group's error at NUMA nodes beyond the first is the same: other nodes are no way around it.
func TestGroupLimitOnNodes(t *testing.T) {
	a := newArena(t, arena.Config{Topology: fakeNodes(t, 2)})
	g := newGroup(t, slub.GroupConfig{Limit: 4 * mem.PageSize})
	c := open(t, a, slub.Config{Size: 1024, Group: g})
	ps := fillArena(t, c)
	if _, err := c.AllocNode(numa.Node(1)); !errors.Is(err, slub.ErrGroupLimit) {
		t.Error(err)
	}
	if a.InUse() > 4*mem.PageSize {
		t.Errorf("%d bytes", a.InUse())
	}
	freeAll(c, ps)
}
