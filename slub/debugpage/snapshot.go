package debugpage

import (
	"os"
	"runtime"
	"time"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// A snapshot is what data.json has. Bytes and counts are as in Stats; the script makes rates of the
// counters.
type snapshot struct {
	Time           float64 `json:"time"` // seconds since 1970
	PID            int     `json:"pid"`
	Go             string  `json:"go"`
	Engine, Reason string
	Caches         []cacheRow
	Arenas         []arenaRow
	Domains        []domainRow
	Backlogs       []backlogRow
	Groups         []slub.GroupStats
	Profile        profileRows
}

// A cacheRow is one cache. HitRate is the share of its allocations that took an object which a free
// had left in a sheaf, so that no slab was asked; below 0 if there were none.
type cacheRow struct {
	Name, Arena, Domain, Buckets, Group string
	Size, InUseBytes, SlabBytes         int64
	InUse, Allocs, Frees, Failures      uint64
	Fast, Slow, Refilled                uint64
	Sheaf, Barn, Waiting, Deferred      uint64
	InSlabs, IsolatedSlabs              uint64
	HitRate                             float64
	SheafCapacity, MaxBarnFull          int
	CPUs                                []cpuCell
	Nodes                               []nodeCell
}

type cpuCell struct{ CPU, Node, Main, Spare, RCU int }

type nodeCell struct {
	Node, Full, Empty, Waiting int
	Slabs, Partial             uint64
}

type arenaRow struct {
	Name                    string
	Limit, InUse            int64 // Limit 0: none
	NearLimit               bool
	Mapped, MappedFree      int64
	PageMap, Decayed        int64
	Refused                 uint64 // by the kernel: commits and discards
	Rounds, Helped, Objects uint64
	Shrinkers               []arena.ShrinkerStats
	Nodes                   []arenaNode
}

// An arenaNode is a node's part of an arena in bytes; Misplaced is a part of Used.
type arenaNode struct {
	Node                         int
	Used, Dirty, Clean, Reserved int64
	Misplaced                    int64
	Placement                    string
}

type domainRow struct {
	Name                         string
	GracePeriods, Stalls         uint64
	Pending, PendingObjects      uint64
	Readers, Online              int
	Open                         int64
	OldestSeconds, SectionSecond float64
	OldestName, OldestPlace      string
	MeanSeconds                  float64 // of the grace periods that were timed
}

type backlogRow struct {
	Name                   string
	Bytes, Peak            int64
	Soft, Hard, Charged    int64 // 0: no limit
	Waits, Overruns, Hurry uint64
	WaitedSeconds          float64
}

// read takes a snapshot: one reading of each cache, arena, domain, backlog and group.
func read() snapshot {
	engine, reason := slub.Engine()
	s := snapshot{Time: float64(time.Now().UnixMilli()) / 1000, PID: os.Getpid(), Go: runtime.Version(),
		Engine: engine, Reason: reason, Profile: readProfile()}
	arenas, domains, backlogs := map[*arena.Arena]string{}, map[*rcu.Domain]bool{}, map[uint32]bool{}
	for c := range slub.Caches() {
		st := c.Stats()
		name, seen := arenas[c.Arena()]
		if !seen {
			a := arenaOf(c.Arena())
			name, arenas[c.Arena()] = a.Name, a.Name
			s.Arenas = append(s.Arenas, a)
		}
		if d := c.Domain(); !domains[d] {
			domains[d] = true
			s.Domains = append(s.Domains, domainOf(d.Stats()))
		}
		if !backlogs[st.Backlog.ID] {
			backlogs[st.Backlog.ID] = true
			s.Backlogs = append(s.Backlogs, backlogOf(st.Backlog))
		}
		if !unused(st) {
			s.Caches = append(s.Caches, cacheOf(c, st, name))
		}
	}
	for g := range slub.Groups() {
		st := g.Stats()
		st.Limit = limited(st.Limit)
		s.Groups = append(s.Groups, st)
	}
	return s
}

func cacheOf(c *slub.Cache, s slub.Stats, arena string) cacheRow {
	r := cacheRow{Name: s.Name, Arena: arena, Domain: c.Domain().Name, Size: s.Size, InUse: s.InUse,
		InUseBytes: int64(s.InUse) * s.Size, Failures: s.AllocFailures, Sheaf: s.SheafObjects + s.Locals.Objects, Waiting: s.RCUObjects,
		Deferred: s.DeferredObjects, IsolatedSlabs: s.IsolatedSlabs, SheafCapacity: s.SheafCapacity, MaxBarnFull: s.MaxBarnFull,
		Fast: s.Events[slub.AllocFastpath], Slow: s.Events[slub.AllocSlowpath], Refilled: s.Events[slub.SheafRefill],
		Frees: s.Events[slub.FreeFastpath] + s.Events[slub.FreeSlowpath] + s.Events[slub.FreeRCUSheaf]}
	r.Allocs = r.Fast + r.Slow
	r.HitRate = hitRate(r.Fast, r.Slow, r.Refilled)
	if b := c.Buckets(); b != nil {
		r.Buckets = b.Name()
	}
	if g := c.Group(); g != nil {
		r.Group = g.Name()
	}
	for _, cpu := range c.CPUStats() {
		r.CPUs = append(r.CPUs, cpuCell{cpu.CPU, int(cpu.Node), cpu.Main, cpu.Spare, cpu.RCU})
	}
	for _, n := range s.Nodes {
		r.SlabBytes += int64(n.Objects) * s.SlotSize
		r.Barn += n.BarnObjects
		r.InSlabs += n.FreeInSlabs
		r.Nodes = append(r.Nodes, nodeCell{int(n.Node), n.BarnFull, n.BarnEmpty, n.BarnWaiting, n.Slabs, n.Partial})
	}
	return r
}

// hitRate is the share of allocations for which no object had to be taken from a slab, neither by
// themselves (slow) nor to fill a sheaf (refilled). Fast over all would count an object as a hit
// that has just been fetched from its slab. It is -1 without allocations.
func hitRate(fast, slow, refilled uint64) float64 {
	if fast+slow == 0 {
		return -1
	}
	return max(0, 1-float64(slow+refilled)/float64(fast+slow))
}

func arenaOf(a *arena.Arena) arenaRow {
	s := a.Stats()
	r := arenaRow{Name: s.Name, Limit: limited(s.Limit), InUse: a.InUse(), NearLimit: a.NearLimit(), Mapped: s.Mapped, MappedFree: s.MappedFree,
		PageMap: s.Metadata, Decayed: s.Decayed, Refused: s.CommitFailures + s.DiscardFailures,
		Rounds: s.Reclaim.Rounds, Helped: s.Reclaim.Helped, Objects: s.Reclaim.Objects, Shrinkers: s.Reclaim.Shrinkers}
	for _, n := range s.Nodes {
		r.Nodes = append(r.Nodes, arenaNode{Node: int(n.Node), Used: n.Used, Dirty: n.Free, Clean: n.Purged, Reserved: n.Reserved,
			Misplaced: min(n.Used, n.Misplaced*4096), Placement: n.Placement})
	}
	return r
}

// limited returns a limit, or 0 for none.
func limited(n int64) int64 {
	if n == arena.Unlimited {
		return 0
	}
	return n
}

func domainOf(s rcu.Stats) domainRow {
	r := domainRow{Name: s.Name, GracePeriods: s.GracePeriods, Stalls: s.Stalls, Pending: s.Pending, PendingObjects: s.PendingObjects,
		Readers: s.Readers, Online: s.Online, Open: s.Open, OldestSeconds: s.OldestReader.Seconds(),
		SectionSecond: s.OldestSection.Seconds(), OldestName: s.OldestName, OldestPlace: s.OldestPlace}
	if h := s.GracePeriodTimes; h.Count > 0 {
		r.MeanSeconds = h.Sum.Seconds() / float64(h.Count)
	}
	return r
}

func backlogOf(s slub.BacklogStats) backlogRow {
	return backlogRow{Name: s.Name, Bytes: s.Bytes, Peak: s.Peak, Soft: limited(s.Soft), Hard: limited(s.Hard), Charged: s.PoolBytes,
		Waits: s.Waits, Overruns: s.Overruns, Hurry: s.Expedited, WaitedSeconds: s.Waited.Seconds()}
}
