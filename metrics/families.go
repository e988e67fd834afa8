package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/slubd/slubd/numa"
	"github.com/slubd/slubd/slub"
)

// namespace is the first word of every name.
const namespace = "slubd"

// kind is the type of a family, as text names it.
type kind string

const (
	counterKind   kind = "counter"
	gaugeKind     kind = "gauge"
	histogramKind kind = "histogram"
)

// client returns the client's constant for a kind other than histograms.
func (k kind) client() prometheus.ValueType {
	if k == counterKind {
		return prometheus.CounterValue
	}
	return prometheus.GaugeValue
}

// family is one metric family. It is immutable.
type family struct {
	desc  *prometheus.Desc // name, help and labels as the client has them
	name  string
	kind  kind
	index int // in families.all

	text, openMetrics string   // its comments in each format of text
	parts             []string // of a series
}

// families holds every family the collector can send. It is immutable after
// newFamilies.
type families struct {
	all []*family // in order of definition

	events                                                   [slub.NumEvents]*family
	allocFailures, foreignFrees, isolatedSlabs               *family
	inUseBytes, slabBytes                                    *family
	cpuObjects, cpuAllocs, cpuFrees                          *family
	objects, slabObjects, slabs                              *family
	objectSize, slotSize, cacheInfo                          *family
	aliases, locals, barnSheaves, remoteObjects, remoteSheaf *family
	resident, arenaReserved, arenaRuns, arenaNode            *family
	arenaSampled, arenaMisplaced, arenaMisplacedShare        *family
	arenaMoved, arenaObservation                             *family
	arenaMappings, decayed                                   *family
	arenaNodeCharged, arenaNodeLimit                         *family
	arenaLimit, discardFailures, commitFailures              *family
	gracePeriods, expedited, stalls, callbacks               *family
	pendingCallbacks, pendingObjects                         *family
	readers, oldestReader, oldestSection                     *family
	gracePeriodTime, reclaimTime                             *family
	sections, openSections                                   *family
	reclaimRounds, reclaimedObjects                          *family
	shrinkerCalls, shrinkerFreed                             *family
	queueFallbacks                                           *family
	backlogBytes, backlogPeak, backlogLimit                  *family
	backlogExpedited, waits, waited, overruns                *family
	backlogCharged                                           *family
	largeAllocs, largeObjects, largeWaiting, largeFailures   *family
	bucketsBytes                                             *family
	groups, groupBytes, groupPeak, groupLimit                *family
	groupFailures, groupRounds, groupObjects, groupCaches    *family
	guardObjects, guardAllocs, guardSkipped, guardReports    *family
	modeInfo, buildInfo, topologyDifference                  *family
}

func (f *families) define(k kind, name, help string, labels []string) *family {
	name = prometheus.BuildFQName(namespace, "", name)
	d := &family{desc: prometheus.NewDesc(name, help, labels, nil), name: name, kind: k, index: len(f.all), parts: parts(name, labels)}
	d.text, d.openMetrics = comments(name, help, k)
	f.all = append(f.all, d)
	return d
}

func (f *families) counter(name, help string, labels ...string) *family {
	return f.define(counterKind, name, help, labels)
}

// histogram defines a family for sendTimes.
func (f *families) histogram(name, help string, labels ...string) *family {
	return f.define(histogramKind, name, help, labels)
}

func (f *families) gauge(name, help string, labels ...string) *family {
	return f.define(gaugeKind, name, help, labels)
}

func newFamilies() *families {
	f := &families{}
	for e := range slub.NumEvents {
		f.events[e] = f.counter("cache_"+e.String()+"_total", e.Help(), "cache")
	}
	f.allocFailures = f.counter("cache_alloc_failures_total",
		"Allocations that returned an error, by reason: a limit that is reached (limit, node_limit, group_limit), addresses that are used "+
			"up (range), a kernel that refuses (kernel), memory that is not on the node (placement), too_large, closed, other.", "cache", "reason")
	f.foreignFrees = f.counter("cache_foreign_frees_total",
		"Frees refused because the pointer was not an object of the cache.", "cache")
	f.isolatedSlabs = f.gauge("cache_isolated_slabs",
		"Slabs that are never used again, since the chain of their free objects is damaged.", "cache")

	f.objects = f.gauge("cache_objects",
		"Objects by where they are: held by the user (in_use), free in per-CPU sheaves (sheaf), in Locals (local), in the sheaves of barns (barn), "+
			"waiting for a grace period (rcu), given to FreeDeferred (deferred), free in slabs (slab).", "cache", "state")
	f.inUseBytes = f.gauge("cache_in_use_bytes", "Bytes of the objects that the user holds, without alignment.", "cache")
	f.slabBytes = f.gauge("cache_slab_bytes",
		"Bytes that the slabs of a node have for objects, free or in use. What of them is not in use is kept: in sheaves and barns, for a "+
			"grace period, or in slabs.", "cache", "node")
	f.cpuObjects = f.gauge("cpu_sheaf_objects",
		"Objects in a CPU's sheaves: free ones that it allocates from (main, spare), and those that gather for a grace period (rcu_free); "+
			"with Config.PerCPU.", "cache", "cpu", "sheaf")
	f.cpuAllocs = f.counter("cpu_allocs_total", "Objects allocated from a CPU's sheaves, or from slabs there; with Config.PerCPU.", "cache", "cpu", "path")
	f.cpuFrees = f.counter("cpu_frees_total", "Objects freed to a CPU's sheaves, or to slabs there; with Config.PerCPU.", "cache", "cpu", "path")
	f.slabObjects = f.gauge("cache_slab_objects", "Objects that the slabs of a node have room for.", "cache", "node")
	f.slabs = f.gauge("cache_slabs",
		"Slabs by whether they have free objects and are listed (partial), have none (full), or are empty and wait for a grace period (retired; TypesafeByRCU).", "cache", "node", "state")
	f.remoteObjects = f.counter("cache_remote_objects_total",
		"Objects that allocations and refills of other nodes' CPUs took from the slabs of a node, since these had none of their own. A CPU "+
			"allocates such an object once at most; AllocNode's don't count.", "cache", "node")
	f.remoteSheaf = f.counter("cache_remote_sheaf_objects_total",
		"Objects of other nodes that CPUs allocated from sheaves for them (alloc_node), freed into these (free), or kept there for a grace "+
			"period (free_rcu).", "cache", "operation")
	f.objectSize = f.gauge("cache_object_size_bytes", "Usable size of an object.", "cache")
	f.slotSize = f.gauge("cache_slot_size_bytes", "Distance from one object of a slab to the next.", "cache")
	f.cacheInfo = f.gauge("cache_info",
		"What a cache belongs to, its arena, RCU domain, Buckets and group, by the names of their series, and its layout; always 1. Multiply "+
			"by it to join: on(cache) group_left(arena).",
		"cache", "id", "arena", "domain", "buckets", "group", "align", "objects_per_slab", "order", "sheaf_capacity")
	f.aliases = f.gauge("cache_aliases", "Other caches that share a cache's slabs and counters.", "cache")
	f.locals = f.gauge("cache_locals", "Locals that were not closed, nor found lost by the collector.", "cache")
	f.barnSheaves = f.gauge("barn_sheaves",
		"Sheaves in a node's barn: full, empty, or waiting for a grace period.", "cache", "node", "state")

	f.resident = f.gauge("resident_bytes",
		"Memory of an arena by class: handed out in runs (used), free and not given back (free), both by node; allocations larger than a run "+
			"(mapping), freed ones that are not given back (mapping_free), and tables (page_map). The kernel counts as resident what of it was touched.",
		"arena", "node", "class")
	f.arenaReserved = f.gauge("arena_reserved_bytes", "Addresses that an arena has for runs, which are no memory until they are used.", "arena", "node")
	f.arenaRuns = f.gauge("arena_runs", "Page runs handed out.", "arena", "node")
	f.arenaNode = f.gauge("arena_node_info", "How the kernel places the memory of a node's range; always 1.",
		"arena", "node", "placement")
	f.arenaNodeCharged = f.gauge("arena_node_charged_bytes",
		"Bytes of an arena that count for the limit of a node's memory: used and free ones, and mappings.", "arena", "node")
	f.arenaNodeLimit = f.gauge("arena_node_limit_bytes", "Limit of what an arena may have of a node's memory; absent without one.",
		"arena", "node")
	f.arenaSampled = f.gauge("arena_sampled_pages",
		"Pages of a node's range that the kernel was asked about when it was last asked where some lie, those that have memory.", "arena", "node")
	f.arenaMisplaced = f.gauge("arena_misplaced_pages",
		"Pages in use of a node's range that lie on another node, estimated from the sampled ones.", "arena", "node")
	f.arenaMisplacedShare = f.gauge("arena_misplaced_ratio", "Share of the sampled pages that lie on another node.", "arena", "node")
	f.arenaMoved = f.counter("arena_moved_pages_total", "Pages that were moved from other nodes to that of their range.", "arena", "node")
	f.arenaObservation = f.gauge("arena_observation_info",
		"How the kernel is asked where pages lie, move_pages or numa_maps, or why it is not (reason); always 1.", "arena", "by", "reason")
	f.arenaMappings = f.gauge("arena_mappings", "Allocations larger than a page run.", "arena")
	f.decayed = f.counter("arena_decayed_bytes_total", "Bytes of idle runs and mappings given back to the kernel in the background.", "arena")
	f.discardFailures = f.counter("arena_discard_failures_total", "Free runs and mappings whose pages the kernel would not take back.", "arena")
	f.commitFailures = f.counter("arena_commit_failures_total", "Times that the kernel would not make pages writable, populate or lock them.", "arena")
	f.arenaLimit = f.gauge("arena_limit_bytes", "Hard limit of an arena; absent without one.", "arena")

	f.reclaimRounds = f.counter("reclaim_rounds_total",
		"Allocations that found no memory at first and had caches and shrinkers give back what they keep, by whether there was enough "+
			"then (helped) or not (failed).", "arena", "result")
	f.reclaimedObjects = f.counter("reclaim_objects_total",
		"Free objects in sheaves, and empty slabs, that caches gave back because an allocation found no memory.", "arena")
	f.shrinkerCalls = f.counter("shrinker_calls_total", "Times that a shrinker was asked to free objects.", "arena", "shrinker")
	f.shrinkerFreed = f.counter("shrinker_freed_objects_total", "Objects that a shrinker says it has freed.", "arena", "shrinker")

	f.reclaimTime = f.histogram("reclaim_round_duration_seconds",
		"How long these rounds took, which the allocation waited for.", "arena")

	f.queueFallbacks = f.counter("cache_rcu_fallback_total",
		"Objects given to FreeRCU when there was no memory to queue them in: linked through their free pointers (link), "+
			"freed by a FreeRCU that waited for the grace period (wait), taken by a callback on the Go heap (callback).", "cache", "way")
	f.backlogBytes = f.gauge("rcu_backlog_bytes",
		"Bytes given over to grace periods: what waits for one, and all of the sheaf that a CPU gathers such objects in.", "backlog")
	f.backlogPeak = f.gauge("rcu_backlog_peak_bytes", "Most bytes that a backlog has had.", "backlog")
	f.backlogLimit = f.gauge("rcu_backlog_limit_bytes",
		"Bytes above which grace periods are expedited (soft), and FreeRCU waits (hard); absent without a limit.", "backlog", "limit")
	f.backlogCharged = f.gauge("rcu_backlog_charged_bytes",
		"Bytes that count for the hard limit: those of the backlog or, where the limit is automatic, of all that share the arena's.", "backlog")
	f.backlogExpedited = f.counter("rcu_backlog_expedited_total", "Rounds in which the soft limit expedited a grace period.", "backlog")
	f.waits = f.counter("rcu_backlog_waits_total", "Waits of FreeRCU at the hard limit.", "backlog")
	f.waited = f.counter("rcu_backlog_wait_seconds_total", "Seconds that waits of FreeRCU at the hard limit have taken, those that have ended.", "backlog")
	f.overruns = f.counter("rcu_backlog_overruns_total",
		"Sheaves and objects that went beyond the hard limit, after a wait or where there must be none.", "backlog")

	f.gracePeriods = f.counter("rcu_grace_periods_total", "Grace periods completed.", "domain")
	f.expedited = f.counter("rcu_expedited_total", "Calls that found a grace period to hurry.", "domain")
	f.stalls = f.counter("rcu_stalls_total",
		"Times that a reader, or the sections of Enter, held up a grace period for another timeout.", "domain")
	f.callbacks = f.counter("rcu_callbacks_total", "Deferred callbacks invoked.", "domain")
	f.pendingCallbacks = f.gauge("rcu_pending_callbacks", "Deferred callbacks waiting for a grace period.", "domain")
	f.pendingObjects = f.gauge("rcu_pending_objects", "Objects that the pending callbacks stand for.", "domain")
	f.readers = f.gauge("rcu_readers", "Registered readers, online or offline.", "domain", "state")
	f.sections = f.counter("rcu_sections_total", "Sections begun by Enter.", "domain")
	f.openSections = f.gauge("rcu_open_sections", "Sections begun by Enter and not ended yet.", "domain")
	f.oldestReader = f.gauge("rcu_oldest_reader_age_seconds",
		"How long the reader most in the way of a grace period has been seen there; 0 if none is.", "domain")

	f.oldestSection = f.gauge("rcu_oldest_section_age_seconds",
		"How long a grace period has waited for sections begun by Enter; 0 if none does.", "domain")
	f.gracePeriodTime = f.histogram("rcu_grace_period_duration_seconds",
		"How long grace periods took, of those that were not over at the first look and were timed, one at a time.", "domain")

	f.bucketsBytes = f.gauge("buckets_in_use_bytes",
		"Bytes of the objects of Buckets, or of slub.Malloc, by kind: of size classes (class), page runs (run), and mappings of their own "+
			"(mapping); the last two with those that wait for a grace period.", "buckets", "kind")
	f.largeFailures = f.counter("buckets_large_alloc_failures_total",
		"Allocations of Buckets of pages that no cache has that returned an error, by reason, as slubd_cache_alloc_failures_total.", "buckets", "reason")
	f.largeAllocs = f.counter("buckets_large_allocs_total",
		"Allocations of Buckets, or of slub.Malloc, of pages that no cache has: page runs (run) and mappings of their own (mapping).",
		"buckets", "kind")
	f.largeObjects = f.gauge("buckets_large_objects",
		"Objects of Buckets that are of no cache, and whose pages are not free: page runs (run) and mappings of their own (mapping).",
		"buckets", "kind")
	f.largeWaiting = f.gauge("buckets_large_waiting_objects",
		"Objects among these that were freed and wait, for a grace period or in the list of FreeDeferred.", "buckets")

	f.groups = f.gauge("groups", "Open groups, of which at most metrics.Config.MaxGroups have series of their own.")
	f.groupBytes = f.gauge("group_bytes",
		"Bytes of slabs, page runs and mappings that a group is charged for, its children's included. Those of groups without a parent "+
			"add up to the whole.", "group", "parent")
	f.groupPeak = f.gauge("group_peak_bytes", "Most bytes that a group was ever charged for.", "group", "parent")
	f.groupLimit = f.gauge("group_limit_bytes", "Limit of a group; absent without one.", "group", "parent")
	f.groupFailures = f.counter("group_alloc_failures_total", "Allocations that failed at the limit of a group.", "group", "parent")
	f.groupRounds = f.counter("group_reclaim_rounds_total",
		"Allocations that found the limit of a group reached and had its caches give back what they keep, by whether there was enough then "+
			"(helped) or not (failed).", "group", "parent", "result")
	f.groupObjects = f.counter("group_reclaim_objects_total",
		"Free objects in sheaves, and empty slabs, that caches gave back because the limit of a group was reached.", "group", "parent")
	f.groupCaches = f.gauge("group_caches", "Caches that belong to a group itself, size classes of Buckets included.", "group", "parent")

	f.guardObjects = f.gauge("guard_objects", "Objects in use that lie between guard pages. A pool has room for 255.")
	f.guardAllocs = f.counter("guard_allocations_total", "Objects that were allocated between guard pages.")
	f.guardSkipped = f.counter("guard_skipped_total",
		"Allocations that should have been guarded and were not: the pool is full, memory is near a limit, or the kernel refuses.")
	f.guardReports = f.counter("guard_reports_total",
		"Errors that guards have found: faults, frees that were refused, bytes written beside an object.")

	f.modeInfo = f.gauge("mode_info",
		"Per-CPU engine in use, and why when it is not the first choice; whether libc or slubd registers threads for it, and in which "+
			"mode of the kernel (legacy, v2); whether objects are guarded by default, and why not; whether caches are hardened by default "+
			"(true, false); always 1.",
		"percpu", "reason", "rseq_owner", "rseq_mode", "guard", "guard_reason", "hardened")
	f.buildInfo = f.gauge("build_info", "Version of the module and of Go; always 1.", "version", "goversion")
	f.topologyDifference = f.gauge("topology_difference_info",
		"A fact about CPU 0 that sysfs and another source, the processor itself (cpuid) or this build (slubd), don't agree on, with what "+
			"each says; always 1, and absent where they agree.", "fact", "sysfs", "source", "other")
	return f
}

// nodeLabel writes a node's number as in /sys/devices/system/node.
func nodeLabel(n numa.Node) string { return strconv.Itoa(int(n)) }
