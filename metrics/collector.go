package metrics

import (
	"iter"
	"runtime"
	"runtime/debug"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// modulePath is how a program's build information lists this module.
const modulePath = "github.com/slubd/slubd"

// Config says what a collector shows. The zero value shows everything but size classes and large
// objects of Buckets that were never used.
type Config struct {
	// Caches yields the caches to show, together with the arenas, the domains and, for size
	// classes, the Buckets that they are of. It is called at each scrape, by several goroutines at
	// once if scrapes overlap, and may leave out caches. nil is slub.Caches.
	Caches func() iter.Seq[*slub.Cache]
	// Groups yields the groups to show, of which the first MaxGroups are shown. It is called as
	// Caches is. nil is slub.Groups, the oldest first.
	Groups func() iter.Seq[*slub.Group]
	// MaxGroups bounds the number of groups with series of their own. 0 is automatic: 100.
	// slub.None shows none, slub.Unlimited all.
	MaxGroups int
	// PerCPU adds slubd_cpu_…: up to 7 series for each cache and each CPU that has used it.
	PerCPU bool
}

// maxGroups is the automatic MaxGroups: 800 series.
const maxGroups = 100

// collector has no state: each Collect reads everything again.
type collector struct {
	caches    func() iter.Seq[*slub.Cache]
	groups    func() iter.Seq[*slub.Group]
	maxGroups int
	perCPU    bool
	families  *families
}

// NewCollector makes a collector for a registry. Its names are fixed, so one
// registry takes one collector; more need prometheus.WrapRegistererWith and a
// label. Any goroutine may collect at any time, also while caches are made and
// closed.
func NewCollector(cfg Config) prometheus.Collector { return newCollector(cfg) }

func newCollector(cfg Config) *collector {
	c := &collector{caches: cfg.Caches, groups: cfg.Groups, maxGroups: cfg.MaxGroups,
		perCPU: cfg.PerCPU, families: newFamilies()}
	if c.caches == nil {
		c.caches = slub.Caches
	}
	if c.groups == nil {
		c.groups = slub.Groups
	}
	if c.maxGroups == 0 {
		c.maxGroups = maxGroups
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range c.families.all {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) { c.scrape(&output{client: ch}) }

// scrape reads everything and sends it.
func (c *collector) scrape(o *output) {
	w := observe(c.caches(), c.perCPU)
	w.observeGroups(c.groups(), c.maxGroups)
	c.send(o, w)
	c.sendProcess(o)
}

func (c *collector) send(o *output, w world) {
	for _, s := range w.caches {
		c.sendCache(o, s)
	}
	for _, s := range w.arenas {
		c.sendArena(o, s)
	}
	for _, s := range w.backlogs {
		c.sendBacklog(o, s)
	}
	for _, s := range w.buckets {
		c.sendBuckets(o, s)
	}
	for _, s := range w.groups {
		c.sendGroup(o, s)
	}
	if w.openGroups > 0 {
		c.families.groups.send(o, float64(w.openGroups))
	}
	for _, s := range w.domains {
		c.sendDomain(o, s)
	}
	for _, d := range w.differences {
		c.families.topologyDifference.send(o, 1, d.Fact, strconv.Itoa(d.Sysfs), d.Source, strconv.Itoa(d.Other))
	}
}

func (c *collector) sendCache(o *output, s cacheStats) {
	f, name := c.families, s.Name
	for e, n := range s.Events {
		f.events[e].send(o, float64(n), name)
	}
	sendFailures(o, f.allocFailures, s.Failures, name)
	f.foreignFrees.send(o, float64(s.ForeignFrees), name)
	if s.IsolatedSlabs > 0 { // in a sound program there is no such series
		f.isolatedSlabs.send(o, float64(s.IsolatedSlabs), name)
	}

	var inBarns, inSlabs uint64
	for _, n := range s.Nodes {
		node := nodeLabel(n.Node)
		inBarns += n.BarnObjects
		inSlabs += n.FreeInSlabs
		f.slabObjects.send(o, float64(n.Objects), name, node)
		f.slabBytes.send(o, float64(n.Objects)*float64(s.SlotSize), name, node)
		f.slabs.send(o, float64(n.Partial), name, node, "partial")
		f.slabs.send(o, float64(n.Slabs-min(n.Partial, n.Slabs)), name, node, "full")
		f.slabs.send(o, float64(n.Retired), name, node, "retired")
		f.remoteObjects.send(o, float64(n.Remote), name, node)
		f.barnSheaves.send(o, float64(n.BarnFull), name, node, "full")
		f.barnSheaves.send(o, float64(n.BarnEmpty), name, node, "empty")
		f.barnSheaves.send(o, float64(n.BarnWaiting), name, node, "waiting")
	}
	f.inUseBytes.send(o, float64(s.InUse)*float64(s.Size), name)
	f.objects.send(o, float64(s.InUse), name, "in_use")
	f.objects.send(o, float64(s.SheafObjects), name, "sheaf")
	f.objects.send(o, float64(s.Locals.Objects), name, "local")
	f.objects.send(o, float64(inBarns), name, "barn")
	f.objects.send(o, float64(s.RCUObjects), name, "rcu")
	f.objects.send(o, float64(s.DeferredObjects), name, "deferred")
	f.objects.send(o, float64(inSlabs), name, "slab")

	f.remoteSheaf.send(o, float64(s.Remote.Allocs), name, "alloc_node")
	f.remoteSheaf.send(o, float64(s.Remote.Frees), name, "free")
	f.remoteSheaf.send(o, float64(s.Remote.FreesRCU), name, "free_rcu")
	f.queueFallbacks.send(o, float64(s.RCUQueue.Linked), name, "link")
	f.queueFallbacks.send(o, float64(s.RCUQueue.Waited), name, "wait")
	f.queueFallbacks.send(o, float64(s.RCUQueue.Callback), name, "callback")

	f.objectSize.send(o, float64(s.Size), name)
	f.locals.send(o, float64(s.Locals.Open), name)
	f.aliases.send(o, float64(s.Aliases), name)
	f.slotSize.send(o, float64(s.SlotSize), name)
	f.cacheInfo.send(o, 1, name, strconv.FormatUint(uint64(s.ID), 10), s.arena, s.domain, s.buckets, s.group, strconv.FormatUint(uint64(s.Align), 10),
		strconv.Itoa(s.ObjectsPerSlab), strconv.Itoa(s.Order), strconv.Itoa(s.SheafCapacity))
	for _, cpu := range s.cpus {
		c.sendCPU(o, name, cpu)
	}
}

func (c *collector) sendCPU(o *output, name string, s slub.CPUStats) {
	f, cpu := c.families, strconv.Itoa(s.CPU)
	f.cpuObjects.send(o, float64(s.Main), name, cpu, "main")
	f.cpuObjects.send(o, float64(s.Spare), name, cpu, "spare")
	f.cpuObjects.send(o, float64(s.RCU), name, cpu, "rcu_free")
	f.cpuAllocs.send(o, float64(s.Events[slub.AllocFastpath]), name, cpu, "fast")
	f.cpuAllocs.send(o, float64(s.Events[slub.AllocSlowpath]), name, cpu, "slow")
	f.cpuFrees.send(o, float64(s.Events[slub.FreeFastpath]), name, cpu, "fast")
	f.cpuFrees.send(o, float64(s.Events[slub.FreeSlowpath]), name, cpu, "slow")
}

// sendFailures sends all reasons, since increase() doesn't see a series begin.
func sendFailures(o *output, f *family, failures [slub.NumFailureReasons]uint64, name string) {
	for r, n := range failures {
		f.send(o, float64(n), name, slub.FailureReason(r).String())
	}
}

func (c *collector) sendArena(o *output, s arena.Stats) {
	f, name := c.families, s.Name
	for _, n := range s.Nodes {
		node := nodeLabel(n.Node)
		f.resident.send(o, float64(n.Used), name, node, "used")
		f.resident.send(o, float64(n.Free), name, node, "free")
		f.arenaReserved.send(o, float64(n.Reserved), name, node)
		f.arenaRuns.send(o, float64(n.Runs), name, node)
		f.arenaNode.send(o, 1, name, node, valid(n.Placement))
		if s.ObservedBy != "" {
			f.arenaSampled.send(o, float64(n.Sampled), name, node)
			f.arenaMisplaced.send(o, float64(n.Misplaced), name, node)
			f.arenaMisplacedShare.send(o, n.MisplacedShare(), name, node)
			f.arenaMoved.send(o, float64(n.Moved), name, node)
		}
		if n.Limit == 0 && n.Charged == 0 {
			continue // no memory of its own
		}
		f.arenaNodeCharged.send(o, float64(n.Charged), name, node)
		if n.Limit != arena.Unlimited {
			f.arenaNodeLimit.send(o, float64(n.Limit), name, node)
		}
	}
	if s.ObservedBy != "" || s.NotObserved != "" {
		f.arenaObservation.send(o, 1, name, s.ObservedBy, s.NotObserved)
	}
	f.arenaMappings.send(o, float64(s.Mappings), name)
	f.resident.send(o, float64(s.Mapped), name, "", "mapping")
	f.resident.send(o, float64(s.MappedFree), name, "", "mapping_free")
	f.resident.send(o, float64(s.Metadata), name, "", "page_map")
	f.decayed.send(o, float64(s.Decayed), name)
	f.discardFailures.send(o, float64(s.DiscardFailures), name)
	f.commitFailures.send(o, float64(s.CommitFailures), name)
	f.reclaimRounds.send(o, float64(s.Reclaim.Helped), name, "helped")
	f.reclaimRounds.send(o, float64(s.Reclaim.Rounds-min(s.Reclaim.Helped, s.Reclaim.Rounds)), name, "failed")
	f.reclaimedObjects.send(o, float64(s.Reclaim.Objects), name)
	f.reclaimTime.sendTimes(o, s.Reclaim.Times, name)
	for _, shrinker := range merged(s.Reclaim.Shrinkers) {
		f.shrinkerCalls.send(o, float64(shrinker.Calls), name, shrinker.Name)
		f.shrinkerFreed.send(o, float64(shrinker.Freed), name, shrinker.Name)
	}
	if s.Limit != arena.Unlimited {
		f.arenaLimit.send(o, float64(s.Limit), name)
	}
}

// merged adds up the figures of shrinkers with one name, since series must differ.
func merged(shrinkers []arena.ShrinkerStats) (list []arena.ShrinkerStats) {
	at := map[string]int{}
	for _, s := range shrinkers {
		s.Name = valid(s.Name)
		i, ok := at[s.Name]
		if !ok {
			at[s.Name] = len(list)
			list = append(list, s)
			continue
		}
		list[i].Calls += s.Calls
		list[i].Freed += s.Freed
	}
	return list
}

func (c *collector) sendBacklog(o *output, s slub.BacklogStats) {
	f, name := c.families, s.Name
	f.backlogBytes.send(o, float64(s.Bytes), name)
	f.backlogPeak.send(o, float64(s.Peak), name)
	if s.Soft != arena.Unlimited {
		f.backlogLimit.send(o, float64(s.Soft), name, "soft")
	}
	if s.Hard != arena.Unlimited {
		f.backlogLimit.send(o, float64(s.Hard), name, "hard")
	}
	f.backlogCharged.send(o, float64(s.PoolBytes), name)
	f.backlogExpedited.send(o, float64(s.Expedited), name)
	f.waits.send(o, float64(s.Waits), name)
	f.waited.send(o, s.Waited.Seconds(), name)
	f.overruns.send(o, float64(s.Overruns), name)
}

func (c *collector) sendBuckets(o *output, s bucketsStats) {
	f, name := c.families, s.Name
	f.bucketsBytes.send(o, s.classBytes, name, "class")
	pages := func(kind string, p slub.PageStats) {
		f.largeAllocs.send(o, float64(p.Allocs), name, kind)
		f.largeObjects.send(o, float64(p.Objects), name, kind)
		f.bucketsBytes.send(o, float64(p.Bytes), name, kind)
	}
	pages("run", s.Runs)
	pages("mapping", s.Mappings)
	sendFailures(o, f.largeFailures, s.Failures, name)
	f.largeWaiting.send(o, float64(s.Waiting), name)
}

func (c *collector) sendGroup(o *output, s slub.GroupStats) {
	f, name, parent := c.families, s.Name, s.Parent
	f.groupBytes.send(o, float64(s.Bytes), name, parent)
	f.groupPeak.send(o, float64(s.Peak), name, parent)
	if s.Limit != slub.Unlimited {
		f.groupLimit.send(o, float64(s.Limit), name, parent)
	}
	f.groupFailures.send(o, float64(s.Failures), name, parent)
	f.groupRounds.send(o, float64(s.Helped), name, parent, "helped")
	f.groupRounds.send(o, float64(s.Rounds-min(s.Helped, s.Rounds)), name, parent, "failed")
	f.groupObjects.send(o, float64(s.Objects), name, parent)
	f.groupCaches.send(o, float64(s.Caches), name, parent)
}

func (c *collector) sendDomain(o *output, s rcu.Stats) {
	f, name := c.families, s.Name
	f.gracePeriods.send(o, float64(s.GracePeriods), name)
	f.expedited.send(o, float64(s.Expedited), name)
	f.stalls.send(o, float64(s.Stalls), name)
	f.callbacks.send(o, float64(s.Callbacks), name)
	f.pendingCallbacks.send(o, float64(s.Pending), name)
	f.pendingObjects.send(o, float64(s.PendingObjects), name)
	f.readers.send(o, float64(s.Online), name, "online")
	f.readers.send(o, float64(s.Readers-s.Online), name, "offline")
	f.sections.send(o, float64(s.Entered), name)
	f.openSections.send(o, float64(s.Open), name)
	f.oldestReader.send(o, s.OldestReader.Seconds(), name)
	f.oldestSection.send(o, s.OldestSection.Seconds(), name)
	f.gracePeriodTime.sendTimes(o, s.GracePeriodTimes, name)
}

func (c *collector) sendProcess(o *output) {
	engine, reason := slub.Engine()
	guards, whyNot := slub.GuardMode()
	owner, mode := slub.ThreadArea()
	c.families.modeInfo.send(o, 1, engine, valid(reason), owner, mode, guards, whyNot, strconv.FormatBool(slub.Hardened()))
	g := slub.ReadGuardStats()
	c.families.guardObjects.send(o, float64(g.Objects))
	c.families.guardAllocs.send(o, float64(g.Allocated))
	c.families.guardSkipped.send(o, float64(g.Skipped))
	c.families.guardReports.send(o, float64(g.Reports))
	info, _ := debug.ReadBuildInfo()
	c.families.buildInfo.send(o, 1, version(info), runtime.Version())
}

// version is the module's version as the program was built with it, "unknown"
// where that was not recorded; info may be nil.
func version(info *debug.BuildInfo) string {
	if info != nil {
		for _, m := range append([]*debug.Module{&info.Main}, info.Deps...) {
			if m.Path == modulePath && m.Version != "" {
				return m.Version
			}
		}
	}
	return "unknown"
}
