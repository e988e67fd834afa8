package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// namespace is the first word of every name.
const namespace = "slubd"

// family is one metric family: its description and whether it counts or
// gauges.
type family struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// send emits one series of the family; labels in the order of its
// description.
func (f family) send(ch chan<- prometheus.Metric, value float64, labels ...string) {
	ch <- prometheus.MustNewConstMetric(f.desc, f.kind, value, labels...)
}

// families holds every family the collector can send. It is immutable after
// newFamilies.
type families struct {
	descs []*prometheus.Desc // of all families, in order of definition

	events                                     [slub.NumEvents]family
	allocCPUSheaf, freeCPUSheaf                family
	allocFailures, foreignFrees                family
	objects, slabObjects, slabs                family
	objectSize, slotSize, cacheInfo            family
	aliases, barnSheaves                       family
	arenaBytes, arenaRuns, arenaNode           family
	arenaMappings, arenaMapped                 family
	arenaMetadata, arenaLimit, discardFailures family
	gracePeriods, callbacks                    family
	pendingCallbacks, pendingObjects           family
	readers, oldestReader                      family
	queueFallbacks                             family
	backlogBytes, backlogPeak, backlogLimit    family
	hurries, waits, waited, overruns           family
	modeInfo, buildInfo                        family
}

func (f *families) define(kind prometheus.ValueType, name, help string, labels []string) family {
	desc := prometheus.NewDesc(prometheus.BuildFQName(namespace, "", name), help, labels, nil)
	f.descs = append(f.descs, desc)
	return family{desc, kind}
}

func (f *families) counter(name, help string, labels ...string) family {
	return f.define(prometheus.CounterValue, name, help, labels)
}

func (f *families) gauge(name, help string, labels ...string) family {
	return f.define(prometheus.GaugeValue, name, help, labels)
}

func newFamilies() *families {
	f := &families{}
	for e := range slub.NumEvents {
		name := e.String()
		f.events[e] = f.counter("cache_"+name+"_total", eventHelp[name], "cache")
	}
	f.allocCPUSheaf = f.counter("cache_alloc_cpu_sheaf_total", "Objects allocated from a CPU's sheaves: alloc_fastpath by its older name, kept for dashboards.", "cache")
	f.freeCPUSheaf = f.counter("cache_free_cpu_sheaf_total", "Objects freed to a CPU's sheaves: free_fastpath by its older name, kept for dashboards.", "cache")
	f.allocFailures = f.counter("cache_alloc_failures_total", "Allocations that returned an error.", "cache")
	f.foreignFrees = f.counter("cache_foreign_frees_total",
		"Frees refused because the pointer was not an object of the cache.", "cache")

	f.objects = f.gauge("cache_objects",
		"Objects by where they are: held by the user (in_use), free in per-CPU sheaves (sheaf), in the sheaves of barns (barn), "+
			"waiting for a grace period (rcu), given to FreeDeferred (deferred), free in slabs (slab).", "cache", "state")
	f.slabObjects = f.gauge("cache_slab_objects", "Objects that the slabs of a node have room for.", "cache", "node")
	f.slabs = f.gauge("cache_slabs",
		"Slabs by whether they have free objects and are listed (partial) or not (full).", "cache", "node", "state")
	f.objectSize = f.gauge("cache_object_size_bytes", "Usable size of an object.", "cache")
	f.slotSize = f.gauge("cache_slot_size_bytes", "Distance from one object of a slab to the next.", "cache")
	f.cacheInfo = f.gauge("cache_info", "Layout of a cache; always 1.",
		"cache", "id", "align", "objects_per_slab", "order", "sheaf_capacity")
	f.aliases = f.gauge("cache_aliases", "Other caches that share a cache's slabs and counters.", "cache")
	f.barnSheaves = f.gauge("barn_sheaves",
		"Sheaves in a node's barn: full, empty, or waiting for a grace period.", "cache", "node", "state")

	f.arenaBytes = f.gauge("arena_bytes",
		"Address range of an arena by class: handed out (used), free and perhaps resident (free), free and not resident (purged), "+
			"never touched (unused).", "arena", "node", "class")
	f.arenaRuns = f.gauge("arena_runs", "Page runs handed out.", "arena", "node")
	f.arenaNode = f.gauge("arena_node_info", "How the kernel places the memory of a node's range; always 1.",
		"arena", "node", "placement")
	f.arenaMappings = f.gauge("arena_mappings", "Allocations larger than a page run.", "arena")
	f.arenaMapped = f.gauge("arena_mapped_bytes", "Bytes of the allocations larger than a page run.", "arena")
	f.arenaMetadata = f.gauge("arena_metadata_bytes", "Memory for the arena's own tables.", "arena")
	f.discardFailures = f.counter("arena_discard_failures_total", "Free runs whose pages the kernel would not take back.", "arena")
	f.arenaLimit = f.gauge("arena_limit_bytes", "Hard limit of an arena; absent without one.", "arena")

	f.queueFallbacks = f.counter("cache_rcu_fallback_total",
		"Objects given to FreeRCU when there was no memory to queue them in: linked through their free pointers (link), "+
			"freed by a FreeRCU that waited for the grace period (wait), taken by a callback on the Go heap (callback).", "cache", "way")
	f.backlogBytes = f.gauge("rcu_backlog_bytes",
		"Bytes given over to grace periods: what waits for one, and all of the sheaf that a CPU gathers such objects in.", "backlog")
	f.backlogPeak = f.gauge("rcu_backlog_peak_bytes", "Most bytes that a backlog has had.", "backlog")
	f.backlogLimit = f.gauge("rcu_backlog_limit_bytes",
		"Bytes above which grace periods are hurried (soft), and FreeRCU waits (hard); absent without a limit.", "backlog", "limit")
	f.hurries = f.counter("rcu_backlog_hurries_total", "Rounds in which the soft limit had a grace period hurried.", "backlog")
	f.waits = f.counter("rcu_backlog_waits_total", "Waits of FreeRCU at the hard limit.", "backlog")
	f.waited = f.counter("rcu_backlog_wait_seconds_total", "Seconds that waits of FreeRCU at the hard limit have taken, those that have ended.", "backlog")
	f.overruns = f.counter("rcu_backlog_overruns_total",
		"Sheaves and objects that went beyond the hard limit, after a wait or where there must be none.", "backlog")

	f.gracePeriods = f.counter("rcu_grace_periods_total", "Grace periods completed.")
	f.callbacks = f.counter("rcu_callbacks_total", "Deferred callbacks invoked.")
	f.pendingCallbacks = f.gauge("rcu_pending_callbacks", "Deferred callbacks waiting for a grace period.")
	f.pendingObjects = f.gauge("rcu_pending_objects", "Objects that the pending callbacks stand for.")
	f.readers = f.gauge("rcu_readers", "Registered readers, online or offline.", "state")
	f.oldestReader = f.gauge("rcu_oldest_reader_age_seconds",
		"How long the reader most in the way of a grace period has been seen there; 0 if none is.")

	f.modeInfo = f.gauge("mode_info", "Per-CPU engine in use, and why when it is not the first choice; always 1.",
		"percpu", "reason")
	f.buildInfo = f.gauge("build_info", "Version of the module and of Go; always 1.", "version", "goversion")
	return f
}

// nodeLabel writes a node's number as in /sys/devices/system/node.
func nodeLabel(n numa.Node) string { return strconv.Itoa(int(n)) }
