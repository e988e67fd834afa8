package metrics

import (
	"iter"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub"
)

// modulePath is how a program's build information lists this module.
const modulePath = "github.com/slubd/slubd"

// Config says what a collector shows. The zero value shows everything but size classes that
// were never used.
type Config struct {
	// Caches yields the caches to show, together with the arenas and domains
	// that they use. It is called at each scrape, by several goroutines at
	// once if scrapes overlap, and may leave out caches. nil is slub.Caches.
	Caches func() iter.Seq[*slub.Cache]
}

// collector is stateless: each Collect reads the world anew.
type collector struct {
	caches   func() iter.Seq[*slub.Cache]
	families *families
}

// NewCollector makes a collector for a registry. Its names are fixed, so one
// registry takes one collector; more need prometheus.WrapRegistererWith and a
// label. Any goroutine may collect at any time, also while caches are made and
// closed.
func NewCollector(cfg Config) prometheus.Collector {
	c := &collector{caches: cfg.Caches, families: newFamilies()}
	if c.caches == nil {
		c.caches = slub.Caches
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.families.descs {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	c.send(ch, observe(c.caches()))
	c.sendProcess(ch)
}

func (c *collector) send(ch chan<- prometheus.Metric, w world) {
	for _, s := range w.caches {
		c.sendCache(ch, s)
	}
	for _, s := range w.arenas {
		c.sendArena(ch, s)
	}
	for _, s := range w.backlogs {
		c.sendBacklog(ch, s)
	}
	c.sendRCU(ch, w.rcu)
}

func (c *collector) sendCache(ch chan<- prometheus.Metric, s slub.Stats) {
	f, name := c.families, s.Name
	for e, n := range s.Events {
		f.events[e].send(ch, float64(n), name)
	}
	f.allocCPUSheaf.send(ch, float64(s.AllocCPUSheaf), name)
	f.freeCPUSheaf.send(ch, float64(s.FreeCPUSheaf), name)
	f.allocFailures.send(ch, float64(s.AllocFailures), name)
	f.foreignFrees.send(ch, float64(s.ForeignFrees), name)

	var inBarns, inSlabs uint64
	for _, n := range s.Nodes {
		node := nodeLabel(n.Node)
		inBarns += n.BarnObjects
		inSlabs += n.FreeInSlabs
		f.slabObjects.send(ch, float64(n.Objects), name, node)
		f.slabs.send(ch, float64(n.Partial), name, node, "partial")
		f.slabs.send(ch, float64(n.Slabs-min(n.Partial, n.Slabs)), name, node, "full")
		f.barnSheaves.send(ch, float64(n.BarnFull), name, node, "full")
		f.barnSheaves.send(ch, float64(n.BarnEmpty), name, node, "empty")
		f.barnSheaves.send(ch, float64(n.BarnWaiting), name, node, "waiting")
	}
	f.objects.send(ch, float64(s.InUse), name, "in_use")
	f.objects.send(ch, float64(s.SheafObjects), name, "sheaf")
	f.objects.send(ch, float64(inBarns), name, "barn")
	f.objects.send(ch, float64(s.RCUObjects), name, "rcu")
	f.objects.send(ch, float64(s.DeferredObjects), name, "deferred")
	f.objects.send(ch, float64(inSlabs), name, "slab")

	f.queueFallbacks.send(ch, float64(s.RCUQueue.Linked), name, "link")
	f.queueFallbacks.send(ch, float64(s.RCUQueue.Waited), name, "wait")
	f.queueFallbacks.send(ch, float64(s.RCUQueue.Callback), name, "callback")

	f.objectSize.send(ch, float64(s.Size), name)
	f.aliases.send(ch, float64(s.Aliases), name)
	f.slotSize.send(ch, float64(s.SlotSize), name)
	f.cacheInfo.send(ch, 1, name, strconv.FormatUint(uint64(s.ID), 10), strconv.FormatUint(uint64(s.Align), 10),
		strconv.Itoa(s.ObjectsPerSlab), strconv.Itoa(s.Order), strconv.Itoa(s.SheafCapacity))
}

func (c *collector) sendArena(ch chan<- prometheus.Metric, s arena.Stats) {
	f, name := c.families, s.Name
	for _, n := range s.Nodes {
		node := nodeLabel(n.Node)
		touched := n.Used + n.Free + n.Purged
		f.arenaBytes.send(ch, float64(n.Used), name, node, "used")
		f.arenaBytes.send(ch, float64(n.Free), name, node, "free")
		f.arenaBytes.send(ch, float64(n.Purged), name, node, "purged")
		f.arenaBytes.send(ch, float64(n.Reserved-min(touched, n.Reserved)), name, node, "unused")
		f.arenaRuns.send(ch, float64(n.Runs), name, node)
		f.arenaNode.send(ch, 1, name, node, valid(n.Placement))
	}
	f.arenaMappings.send(ch, float64(s.Mappings), name)
	f.arenaMapped.send(ch, float64(s.Mapped), name)
	f.arenaMetadata.send(ch, float64(s.Metadata), name)
	f.discardFailures.send(ch, float64(s.DiscardFailures), name)
	if s.Limit != 0 {
		f.arenaLimit.send(ch, float64(s.Limit), name)
	}
}

func (c *collector) sendBacklog(ch chan<- prometheus.Metric, s slub.BacklogStats) {
	f, name := c.families, s.Name
	f.backlogBytes.send(ch, float64(s.Bytes), name)
	f.backlogPeak.send(ch, float64(s.Peak), name)
	if s.Soft != 0 {
		f.backlogLimit.send(ch, float64(s.Soft), name, "soft")
	}
	if s.Hard != 0 {
		f.backlogLimit.send(ch, float64(s.Hard), name, "hard")
	}
	f.hurries.send(ch, float64(s.Hurries), name)
	f.waits.send(ch, float64(s.Waits), name)
	f.waited.send(ch, s.Waited.Seconds(), name)
	f.overruns.send(ch, float64(s.Overruns), name)
}

func (c *collector) sendRCU(ch chan<- prometheus.Metric, s rcu.Stats) {
	f := c.families
	f.gracePeriods.send(ch, float64(s.GracePeriods))
	f.callbacks.send(ch, float64(s.Callbacks))
	f.pendingCallbacks.send(ch, float64(s.Pending))
	f.pendingObjects.send(ch, float64(s.PendingObjects))
	f.readers.send(ch, float64(s.Online), "online")
	f.readers.send(ch, float64(s.Readers-s.Online), "offline")
	f.oldestReader.send(ch, float64(s.OldestReader)/float64(time.Second))
}

func (c *collector) sendProcess(ch chan<- prometheus.Metric) {
	engine, reason := slub.Engine()
	c.families.modeInfo.send(ch, 1, engine, valid(reason))
	info, _ := debug.ReadBuildInfo()
	c.families.buildInfo.send(ch, 1, version(info), runtime.Version())
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
