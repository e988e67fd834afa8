package metrics

import (
	"os"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/loghist"
	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// fixed shows a world made by hand, without what depends on the machine.
type fixed struct {
	*collector
	world world
}

func (f fixed) Collect(ch chan<- prometheus.Metric) { f.send(&output{client: ch}, f.world) }

// handmade gives every field a value of its own, so that no two can be mixed
// up unseen.
func handmade() world {
	s := slub.Stats{
		Name: "session", ID: 7, Size: 200, SlotSize: 208, Align: 16, ObjectsPerSlab: 78, Order: 2, SheafCapacity: 60, Aliases: 2,
		AllocFailures: 203, ForeignFrees: 204, IsolatedSlabs: 205,
		InUse: 301, SheafObjects: 302, RCUObjects: 303, DeferredObjects: 304,
		Nodes: []slub.NodeStats{
			{Node: 0, Slabs: 20, Partial: 6, Objects: 1560, FreeInSlabs: 401, Retired: 402, Remote: 403, BarnFull: 3, BarnEmpty: 4, BarnWaiting: 5, BarnObjects: 180},
			{Node: 3, Slabs: 2, Partial: 3, Objects: 156, FreeInSlabs: 99, BarnObjects: 1},
		},
	}
	for r := range s.Failures {
		s.Failures[r] = uint64(211 + r)
	}
	cpu := slub.CPUStats{CPU: 5, Main: 221, Spare: 222, RCU: 223}
	cpu.Events[slub.AllocFastpath], cpu.Events[slub.AllocSlowpath] = 224, 225
	cpu.Events[slub.FreeFastpath], cpu.Events[slub.FreeSlowpath] = 226, 227
	s.Locals = slub.LocalStats{Open: 305, Objects: 306}
	s.Remote = slub.RemoteStats{Allocs: 651, Frees: 652, FreesRCU: 653}
	s.RCUQueue = slub.QueueStats{Linked: 601, Waited: 602, Callback: 603}
	limited, unlimited := slub.BacklogStats{Name: "session"}, slub.BacklogStats{Name: "malloc", Soft: arena.Unlimited, Hard: arena.Unlimited}
	limited.Bytes, limited.Peak, limited.Soft, limited.Hard, limited.PoolBytes = 701, 702, 703, 704, 708
	limited.Expedited, limited.Waits, limited.Waited, limited.Overruns = 705, 706, 2500*time.Millisecond, 707
	for e := range s.Events {
		s.Events[e] = uint64(100 + e)
	}
	reclaimed := arena.ReclaimStats{Rounds: 15, Helped: 14, Objects: 16, Shrinkers: []arena.ShrinkerStats{
		{Name: "answers", Calls: 17, Freed: 18}, {Name: "names\xff", Calls: 19, Freed: 20}, {Name: "answers", Calls: 1, Freed: 2}}}
	var recorded loghist.Recorder
	for _, d := range []time.Duration{time.Nanosecond, time.Millisecond, time.Millisecond, time.Hour} {
		recorded.Observe(d)
	}
	reclaimed.Times = recorded.Read()
	return world{
		caches:   []cacheStats{{Stats: s, cpus: []slub.CPUStats{cpu}, arena: "default", domain: "rcu", buckets: "malloc", group: "acme"}},
		backlogs: []slub.BacklogStats{limited, unlimited},
		buckets: []bucketsStats{{classBytes: 908, LargeStats: slub.LargeStats{Name: "malloc", Waiting: 907,
			Runs:     slub.PageStats{Allocs: 901, Objects: 902, Bytes: 903},
			Mappings: slub.PageStats{Allocs: 904, Objects: 905, Bytes: 906}, Failures: [slub.NumFailureReasons]uint64{slub.FailedKernel: 909}}}},
		arenas: []arena.Stats{
			{Name: "default", Limit: 1 << 30, Metadata: 65536, Decayed: 13, ObservedBy: numa.SourceMovePages, Mappings: 11, Mapped: 12000, MappedFree: 4096, DiscardFailures: 5, CommitFailures: 6, Reclaim: reclaimed, Nodes: []arena.NodeStats{
				{Node: 0, Reserved: 1000, Used: 100, Free: 20, Purged: 3, Runs: 9, Charged: 12132, Limit: 14000, Placement: "bound", Sampled: 64, Moved: 12},
				{Node: 3, Reserved: 500, Used: 499, Free: 2, Runs: 8, Charged: 501, Limit: arena.Unlimited, Placement: "first touch: EPERM\xff", Sampled: 32, Elsewhere: 8, Misplaced: 125},
			}},
			{Name: "unlimited", Limit: arena.Unlimited, NotObserved: "nothing tells"},
		},
		domains: []rcu.Stats{{
			Name: "default", GracePeriods: 501, Callbacks: 502, Pending: 503, PendingObjects: 504, Readers: 9, Online: 7,
			Expedited: 505, Stalls: 506, Entered: 507, Open: 508, OldestReader: 1500 * time.Millisecond, OldestSection: 250 * time.Millisecond,
			GracePeriodTimes: reclaimed.Times,
		}},
		groups: []slub.GroupStats{
			{Name: "tenants", Bytes: 1001, Peak: 1002, Limit: 1003, Failures: 1004, Rounds: 1015, Helped: 1006, Objects: 1007, Caches: 1008},
			{Name: "acme", Parent: "tenants", Limit: slub.Unlimited},
		},
		openGroups:  3,
		differences: []numa.Difference{{Fact: "threads per core", Sysfs: 801, Source: "cpuid", Other: 802}},
	}
}

func TestGolden(t *testing.T) {
	golden, err := os.Open("testdata/handmade.prom")
	if err != nil {
		t.Fatal(err)
	}
	defer golden.Close()
	f := fixed{NewCollector(Config{}).(*collector), handmade()}
	if err := testutil.CollectAndCompare(f, golden); err != nil {
		t.Error(err)
	}
}

func TestNamesBecomeDistinctLabels(t *testing.T) {
	taken := map[string]bool{}
	var got []string
	for id, name := range []string{"a", "b", "a", "a#4", "a", "a\xff", "a\xfe"} {
		got = append(got, distinct(taken, name, id))
	}
	if s, want := strings.Join(got, " "), "a b a#2 a#4 a#4#4 a\uFFFD a\uFFFD#6"; s != want {
		t.Errorf("labels are %s, want %s", s, want)
	}
}

func TestVersion(t *testing.T) {
	main := debug.Module{Path: "example.com/daemon", Version: "v9.0.0"}
	ours := &debug.Module{Path: modulePath, Version: "v0.1.0"}
	for _, c := range []struct {
		info *debug.BuildInfo
		want string
	}{
		{nil, "unknown"},
		{&debug.BuildInfo{Main: main}, "unknown"},
		{&debug.BuildInfo{Main: debug.Module{Path: modulePath}}, "unknown"},
		{&debug.BuildInfo{Main: main, Deps: []*debug.Module{ours}}, "v0.1.0"},
		{&debug.BuildInfo{Main: *ours}, "v0.1.0"},
	} {
		if got := version(c.info); got != c.want {
			t.Errorf("version of %+v is %s, want %s", c.info, got, c.want)
		}
	}
}
