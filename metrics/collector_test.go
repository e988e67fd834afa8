package metrics

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/hooks"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// object is what the tests' caches hold.
type object [64]byte

// newCache makes a cache that is closed, and must be empty, at the test's end.
func newCache(t *testing.T, a *arena.Arena, cfg slub.Config) *slub.Typed[object] {
	t.Helper()
	c, err := slub.NewTyped[object](a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Cache().Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// only lists the given caches in place of slub.Caches.
func only(caches ...*slub.Cache) func() iter.Seq[*slub.Cache] {
	return func() iter.Seq[*slub.Cache] { return slices.Values(caches) }
}

// series is what a scrape shows: values by name and labels, as in
// slubd_cache_objects{cache=x,state=slab}.
type series map[string]float64

// scrape collects through a registry that checks all it is given.
func scrape(t *testing.T, cfg Config) series {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(cfg))
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	s := series{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			key := f.GetName()
			if labels := m.GetLabel(); len(labels) > 0 {
				key += "{" + strings.Join(pairs(labels), ",") + "}"
			}
			s[key] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return s
}

func pairs(labels []*dto.LabelPair) []string {
	var text []string
	for _, l := range labels {
		text = append(text, l.GetName()+"="+l.GetValue())
	}
	return text
}

// sum adds the series of a family that carry all the given label pairs.
func (s series) sum(family string, labels ...string) (total float64) {
	for key, value := range s {
		name, rest, _ := strings.Cut(strings.TrimSuffix(key, "}"), "{")
		have := strings.Split(rest, ",")
		missing := slices.ContainsFunc(labels, func(l string) bool { return !slices.Contains(have, l) })
		if name == family && !missing {
			total += value
		}
	}
	return total
}

func (s series) expect(t *testing.T, want float64, family string, labels ...string) {
	t.Helper()
	if got := s.sum(family, labels...); got != want {
		t.Errorf("%s%v is %v, want %v", family, labels, got, want)
	}
}

func TestLint(t *testing.T) {
	c := newCache(t, nil, slub.Config{Name: "lint"})
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(NewCollector(Config{Caches: only(c.Cache())}))
	problems, err := testutil.GatherAndLint(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// TestValuesMoveWithOperations compares the sums of fast and slow paths, which
// are exact whatever way the single operations went.
func TestValuesMoveWithOperations(t *testing.T) {
	for _, c := range []struct {
		name  string
		flags slub.Flags
	}{{"with sheaves", 0}, {"without sheaves", slub.NoSheaves}} {
		t.Run(c.name, func(t *testing.T) { testOperations(t, c.flags) })
	}
}

func testOperations(t *testing.T, flags slub.Flags) {
	typed := newCache(t, nil, slub.Config{Name: "moving", Flags: flags})
	cfg := Config{Caches: only(typed.Cache())}
	before := scrape(t, cfg)
	before.expect(t, 0, "slubd_cache_objects", "state=in_use")

	live := make([]*object, 1000)
	for i := range live {
		var err error
		if live[i], err = typed.Alloc(); err != nil {
			t.Fatal(err)
		}
	}
	for _, o := range live[:300] {
		typed.Free(o)
	}
	for _, o := range live[300:350] {
		typed.FreeRCU(o)
	}
	if err := typed.Cache().Barrier(context.Background()); err != nil {
		t.Fatal(err)
	}

	s := scrape(t, cfg)
	allocs := s.sum("slubd_cache_alloc_fastpath_total") + s.sum("slubd_cache_alloc_slowpath_total")
	frees := s.sum("slubd_cache_free_fastpath_total") + s.sum("slubd_cache_free_slowpath_total")
	// An object that no rcu_free sheaf took is freed to its slab in the end.
	frees += s.sum("slubd_cache_free_rcu_sheaf_total")
	if allocs != 1000 || frees != 350 {
		t.Errorf("%v allocations and %v frees, made 1000 and 350", allocs, frees)
	}
	capacity := s.sum("slubd_cache_slab_objects")
	if flags&slub.NoSheaves != 0 {
		s.expect(t, 1000, "slubd_cache_alloc_slowpath_total")
		s.expect(t, 0, "slubd_cache_alloc_fastpath_total")
		s.expect(t, 0, "slubd_cache_objects", "state=sheaf")
	}
	s.expect(t, 650, "slubd_cache_objects", "state=in_use")
	s.expect(t, 650*64, "slubd_cache_in_use_bytes", "cache=moving")
	s.expect(t, capacity*s.sum("slubd_cache_slot_size_bytes"), "slubd_cache_slab_bytes")
	s.expect(t, capacity, "slubd_cache_objects")
	s.expect(t, s.sum("slubd_cache_alloc_slab_total")-s.sum("slubd_cache_free_slab_total"), "slubd_cache_slabs")
	s.expect(t, 64, "slubd_cache_object_size_bytes")
	s.expect(t, 1, "slubd_cache_info", "cache=moving")
	for _, o := range live[350:] {
		typed.Free(o)
	}
	scrape(t, cfg).expect(t, 0, "slubd_cache_objects", "state=in_use")
}

func TestForeignFreesCount(t *testing.T) {
	var reports int
	victim := newCache(t, nil, slub.Config{Name: "victim", Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports++ }}})
	other := newCache(t, nil, slub.Config{Name: "other"})
	o, err := other.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	victim.Free(o)
	s := scrape(t, Config{Caches: only(victim.Cache(), other.Cache())})
	s.expect(t, 1, "slubd_cache_foreign_frees_total", "cache=victim")
	s.expect(t, 0, "slubd_cache_foreign_frees_total", "cache=other")
	if reports != 1 {
		t.Errorf("%d reports", reports)
	}
	other.Free(o)
}

// TestSharedArenaIsShownOnce has three caches on two arenas and one domain.
func TestSharedArenaIsShownOnce(t *testing.T) {
	private, err := arena.New(arena.Config{Name: "private", Limit: 64 << 20, Span: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := private.Close(); err != nil {
			t.Error(err)
		}
	})
	a, b := newCache(t, private, slub.Config{Name: "twin"}), newCache(t, private, slub.Config{Name: "twin"})
	c := newCache(t, nil, slub.Config{Name: "apart"})
	reader := slub.DefaultDomain().Register("metrics test")
	defer reader.Close()
	reader.Offline()
	o, err := a.Alloc()
	if err != nil {
		t.Fatal(err)
	}
	s := scrape(t, Config{Caches: only(b.Cache(), a.Cache(), c.Cache())})
	a.Free(o)

	s.expect(t, 64<<20, "slubd_arena_limit_bytes", "arena=private")
	var used int64
	for _, n := range private.Stats().Nodes {
		used += n.Used
	}
	s.expect(t, float64(used), "slubd_resident_bytes", "arena=private", "class=used")
	s.expect(t, 1, "slubd_cache_objects", "cache=twin", "state=in_use")
	if n := s.sum("slubd_cache_info"); n != 3 {
		t.Errorf("%v of 3 caches shown", n)
	}
	nodes := len(private.Stats().Nodes) + len(c.Cache().Arena().Stats().Nodes)
	s.expect(t, float64(nodes), "slubd_arena_node_info")
	s.expect(t, 1, "slubd_rcu_readers")
	s.expect(t, 1, "slubd_rcu_readers", "state=offline")
}

// TestSeriesStayTheirOwners: a counter doesn't fall, nor change hands, when another
// domain or arena of the same name is gone.
func TestSeriesStayTheirOwners(t *testing.T) {
	var arenas [2]*arena.Arena
	var caches [2]*slub.Cache
	for i := range caches {
		a, err := arena.New(arena.Config{Name: "namesakes", Span: 16 << (20 + i)})
		if err != nil {
			t.Fatal(err)
		}
		arenas[i] = a
		d := &rcu.Domain{}
		c, err := slub.New(a, slub.Config{Size: 64, Domain: d})
		if err != nil {
			t.Fatal(err)
		}
		caches[i] = c
		for range i + 1 { // one grace period for the first, two for the second
			if err := d.Synchronize(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := scrape(t, Config{Caches: only(caches[:]...)})
	before.expect(t, 3, "slubd_rcu_grace_periods_total")
	if err := errors.Join(caches[0].Close(), arenas[0].Close()); err != nil {
		t.Fatal(err)
	}
	after := scrape(t, Config{Caches: only(caches[1])})
	for key, value := range after {
		if strings.HasPrefix(key, "slubd_rcu_grace_periods_total") || strings.HasPrefix(key, "slubd_arena_reserved_bytes") {
			if was, ok := before[key]; !ok || was != value {
				t.Errorf("%s is %v, and was %v", key, value, was)
			}
		}
	}
	after.expect(t, 2, "slubd_rcu_grace_periods_total")
	if err := errors.Join(caches[1].Close(), arenas[1].Close()); err != nil {
		t.Error(err)
	}
}

func TestDefaultIsEveryCache(t *testing.T) {
	before := scrape(t, Config{}).sum("slubd_cache_info")
	newCache(t, nil, slub.Config{Name: "newcomer"})
	scrape(t, Config{}).expect(t, before+1, "slubd_cache_info")
	s := scrape(t, Config{Caches: only()})
	s.expect(t, 0, "slubd_cache_info")
	engine, reason := slub.Engine()
	guards, whyNot := slub.GuardMode()
	hardened := strconv.FormatBool(slub.Hardened())
	owner, mode := slub.ThreadArea()
	if (owner == "") != (engine == "trylock") || (mode == "") != (engine == "trylock") {
		t.Errorf("engine %s: threads are registered by %q in mode %q", engine, owner, mode)
	}
	if s["slubd_mode_info{guard="+guards+",guard_reason="+whyNot+",hardened="+hardened+",percpu="+engine+",reason="+reason+
		",rseq_mode="+mode+",rseq_owner="+owner+"}"] != 1 {
		t.Errorf("engine %s (%s, %s %s), guards %s (%s), hardened %s are not shown", engine, reason, owner, mode, guards, whyNot, hardened)
	}
	s.expect(t, 1, "slubd_build_info")
}

// TestBacklogs: aliases and the classes of Buckets show one backlog, which moves.
func TestBacklogs(t *testing.T) {
	b, err := slub.NewBuckets(nil, slub.BucketsConfig{Name: "values", Domain: new(rcu.Domain), RCUHardLimit: 1, RCUMaxWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	reader := b.Caches()[0].Domain().Register("reader")
	for range 3 {
		p, err := b.Malloc(2 << 20)
		if err != nil {
			t.Fatal(err)
		}
		b.FreeRCU(p)
	}
	s := scrape(t, Config{Caches: only(b.Caches()...)})
	s.expect(t, 3*(2<<20), "slubd_rcu_backlog_bytes", "backlog=values")
	s.expect(t, 1, "slubd_rcu_backlog_limit_bytes", "backlog=values", "limit=hard")
	s.expect(t, 1, "slubd_rcu_backlog_waits_total") // and once that has run out, none
	s.expect(t, 2, "slubd_rcu_backlog_overruns_total")
	if s.sum("slubd_rcu_backlog_wait_seconds_total") <= 0 {
		t.Error("waits took no time")
	}
	if err := errors.Join(reader.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// TestUnusedClasses: of Buckets only what was used is shown, ever after; what has failed or
// was misused is as well, and an ordinary cache from the start.
func TestUnusedClasses(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "classes"})
	if err != nil {
		t.Fatal(err)
	}
	var reports int
	b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "kv", Hooks: hooks.Hooks{Report: func(*hooks.Report) { reports++ }}})
	if err != nil {
		t.Fatal(err)
	}
	idle := newCache(t, nil, slub.Config{Name: "idle"})
	cfg := Config{Caches: only(append(b.Caches(), idle.Cache())...)}
	shown := func(names ...string) {
		t.Helper()
		s := scrape(t, cfg)
		s.expect(t, float64(len(names)), "slubd_cache_info")
		for _, name := range names {
			s.expect(t, 1, "slubd_cache_info", "cache="+name)
		}
		s.expect(t, 0, "slubd_rcu_backlog_bytes", "backlog=kv")
		s.expect(t, float64(len(a.Stats().Nodes)), "slubd_arena_node_info", "arena=classes")
	}
	shown("idle")
	p, err := b.Malloc(100)
	if err != nil {
		t.Fatal(err)
	}
	shown("idle", "kv-112")
	b.Free(p)
	b.Caches()[0].Shrink()
	shown("idle", "kv-112")
	a.SetLimit(1)
	if _, err := b.Malloc(1000); !errors.Is(err, slub.ErrNoMemory) {
		t.Errorf("beyond the limit: %v", err)
	}
	for _, c := range b.Caches() {
		if c.Name() == "kv-8" {
			c.Free(p)
		}
	}
	if reports != 1 {
		t.Errorf("%d reports", reports)
	}
	shown("idle", "kv-112", "kv-1024", "kv-8")
	if err := errors.Join(b.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}

// TestLargeObjects: objects of Buckets that are larger than all classes are shown under their
// Buckets' name, once there was one.
func TestLargeObjects(t *testing.T) {
	a, err := arena.New(arena.Config{Name: "large", Span: 256 << 20}) // race builds reserve less
	if err != nil {
		t.Fatal(err)
	}
	var all []*slub.Buckets
	var caches []*slub.Cache
	for range 2 { // of one name
		b, err := slub.NewBuckets(a, slub.BucketsConfig{Name: "blobs", Domain: new(rcu.Domain)})
		if err != nil {
			t.Fatal(err)
		}
		all, caches = append(all, b), append(caches, b.Caches()...)
	}
	cfg := Config{Caches: only(caches...)}
	scrape(t, cfg).expect(t, 0, "slubd_buckets_large_objects", "buckets=blobs")
	b := all[0]
	var frees []func()
	const run, runs = 9 << 17, 100 // bytes of each, and objects
	for range runs {
		p, err := b.Malloc(run)
		if err != nil {
			t.Fatal(err)
		}
		frees = append(frees, func() { b.Free(p) })
	}
	huge, err := b.Malloc(5 << 20)
	if err != nil {
		t.Fatal(err)
	}
	reader := b.Domain().Register("reader")
	b.FreeRCU(huge)
	s := scrape(t, cfg)
	for kind, want := range map[string][2]float64{"run": {runs, runs * run}, "mapping": {1, 5 << 20}} {
		s.expect(t, want[0], "slubd_buckets_large_objects", "buckets=blobs", "kind="+kind)
		s.expect(t, want[0], "slubd_buckets_large_allocs_total", "buckets=blobs", "kind="+kind)
		s.expect(t, want[1], "slubd_buckets_in_use_bytes", "buckets=blobs", "kind="+kind)
	}
	s.expect(t, 1, "slubd_buckets_large_waiting_objects", "buckets=blobs")
	n := 0
	for key := range s {
		if strings.HasPrefix(key, "slubd_buckets_") {
			n++
		}
	}
	if n != 17 {
		t.Errorf("%d series of Buckets", n)
	}
	p, err := all[1].Malloc(2 << 20)
	if err != nil {
		t.Fatal(err)
	}
	s = scrape(t, cfg)
	s.expect(t, runs+2, "slubd_buckets_large_objects")
	s.expect(t, runs+1, "slubd_buckets_large_objects", "buckets=blobs")
	all[1].Free(p)
	for _, free := range frees {
		free()
	}
	if err := errors.Join(reader.Close(), b.Barrier(context.Background())); err != nil {
		t.Fatal(err)
	}
	s = scrape(t, cfg)
	s.expect(t, 0, "slubd_buckets_large_objects")
	s.expect(t, 0, "slubd_buckets_large_waiting_objects")
	s.expect(t, runs+1, "slubd_buckets_large_allocs_total", "buckets=blobs")
	if err := errors.Join(all[0].Close(), all[1].Close(), a.Close()); err != nil {
		t.Error(err)
	}
}

// TestSeriesPerCache has the numbers that doc.go and docs/tuning.md name.
func TestSeriesPerCache(t *testing.T) {
	c := newCache(t, nil, slub.Config{Name: "counted"})
	n, nodes := 0, len(c.Cache().Arena().Stats().Nodes)
	for key := range scrape(t, Config{Caches: only(c.Cache())}) {
		if strings.Contains(key, "cache=counted") {
			n++
		}
	}
	if n != 55+9*nodes {
		t.Errorf("%d series on %d nodes", n, nodes)
	}
}
