package machine

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/text"
)

// Finding is a fact that decides how far figures of this machine can be trusted, or carried over to
// another one.
type Finding struct {
	Fact   string `json:"fact"`
	Value  string `json:"value"`
	Spoils bool   `json:"spoils"`           // whether it may spoil a measurement
	Advice string `json:"advice,omitempty"` // what to do about it, or what it means
}

// unknown is the value of a fact that no file tells.
const unknown = "unknown"

// findings looks at everything that may spoil a measurement, in the order in which a person would
// ask: what there is, what this process may use of it, what moves memory and threads around, what
// changes the speed of a CPU.
func (r reader) findings(m *Machine) (list []Finding) {
	add := func(fact, value string, spoils bool, advice string) {
		if value == "" {
			value = unknown
		}
		if !spoils {
			advice = ""
		}
		list = append(list, Finding{fact, value, spoils, advice})
	}
	r.findNodes(m, add)
	r.findAllowed(m, add)
	r.findMovers(add)
	r.findSpeed(m, add)
	return list
}

// adder adds a finding. The advice is kept where the fact spoils something.
type adder func(fact, value string, spoils bool, advice string)

func (r reader) findNodes(m *Machine, add adder) {
	n := len(m.Nodes)
	switch {
	case m.Source != "sysfs":
		add("nodes", text.Count(n, "node", "nodes"), true, m.Source+": mount /sys, or run outside the container")
	default:
		add("nodes", text.Count(n, "node", "nodes"), n == 1, "nothing here is far away: what a remote page costs can't be measured on it")
	}
	packages := map[int]int{} // nodes by package
	var memoryOnly, memoryless, full []int
	for _, node := range m.Nodes {
		for _, p := range node.Packages {
			packages[p]++
		}
		switch {
		case len(node.CPUs) == 0:
			memoryOnly = append(memoryOnly, int(node.ID))
		case !m.topology.HasMemory(node.ID):
			memoryless = append(memoryless, int(node.ID))
		}
		if node.Memory > 0 && node.Free < node.Memory/10 {
			full = append(full, int(node.ID))
		}
	}
	if most := largest(packages); most > 0 {
		add("nodes in a package", strconv.Itoa(most), most > 1,
			"SNC (Intel) or NPS (AMD) splits the package: compare only with machines that are set the same in their firmware")
	}
	if len(memoryOnly) > 0 {
		add("memory without CPUs", "node "+cpulist.Format(memoryOnly), true, "CXL or other far memory: used where no other node has any, and by AllocNode")
	}
	if len(memoryless) > 0 {
		add("CPUs without memory", "node "+cpulist.Format(memoryless), true, "their memory is on the nearest node that has some")
	}
	if len(full) > 0 {
		add("nearly full", "node "+cpulist.Format(full), true,
			"less than a tenth is free, so pages fall to other nodes: echo 3 > /proc/sys/vm/drop_caches, or end other programs")
	}
	switch {
	case len(m.L3) > 0:
		add("L3 groups", strconv.Itoa(len(m.L3)), false, "")
	default:
		add("L3 groups", unknown, true, "the kernel doesn't tell which CPUs share one (virtual machines often hide it): threads may share a cache or not")
	}
}

// largest returns the largest value, 0 of none.
func largest(counts map[int]int) (most int) {
	for _, n := range counts {
		most = max(most, n)
	}
	return most
}

func (r reader) findAllowed(m *Machine, add adder) {
	var online, allowed, withMemory []int
	for _, n := range m.Nodes {
		online, allowed = append(online, n.CPUs...), append(allowed, n.Allowed...)
		if m.topology.HasMemory(n.ID) {
			withMemory = append(withMemory, int(n.ID))
		}
	}
	online, allowed = distinct(online), distinct(allowed)
	add("CPUs allowed", cpulist.Format(allowed), len(allowed) < len(online),
		"of "+cpulist.Format(online)+": a cpuset, taskset or numactl holds this process to them; run without it to see the whole machine")
	if mems, known := r.list("proc/self/status", "Mems_allowed_list:"); known {
		missing := slices.DeleteFunc(withMemory, func(n int) bool { return slices.Contains(mems, n) })
		add("memory allowed", "node "+cpulist.Format(mems), len(missing) > 0,
			"none of node "+cpulist.Format(missing)+": a cpuset (cpuset.mems) forbids it")
	}
	if policy := r.policy(); policy != "" {
		add("memory policy", policy, policy != "default" && policy != "local", "numactl has set it: what slubd doesn't bind itself follows it")
	}
	if quota := r.quota(); quota != "" {
		add("CPU quota", quota, quota != "none", "threads stop when it is used up: measure in a cgroup without cpu.max")
	}
	if isolated := r.text(cpuDir + "isolated"); isolated != "" {
		add("isolated CPUs", isolated, true, "the scheduler uses them for no thread that isn't pinned there: -pin "+isolated)
	}
}

// policy returns the memory policy of this process as the kernel writes it, such as "bind:0": that
// of its first mapping, which has none of its own.
func (r reader) policy() string {
	line, _, _ := strings.Cut(r.text("proc/self/numa_maps"), "\n")
	if f := strings.Fields(line); len(f) > 1 {
		return f[1]
	}
	return ""
}

// quota returns the limit of CPU time of the process's cgroup: "none", a number of CPUs, or nothing
// if no file tells.
func (r reader) quota() string {
	dir := r.field("proc/self/cgroup", "0::")
	for _, top := range []string{"sys/fs/cgroup", "sys/fs/cgroup/unified"} {
		f := strings.Fields(r.text(top + strings.TrimSuffix(dir, "/") + "/cpu.max"))
		if len(f) != 2 {
			continue
		}
		most, err1 := strconv.ParseFloat(f[0], 64)
		period, err2 := strconv.ParseFloat(f[1], 64)
		switch {
		case f[0] == "max":
			return "none"
		case err1 == nil && err2 == nil && period > 0:
			return fmt.Sprintf("%.3g CPUs", most/period)
		}
	}
	return ""
}

func (r reader) findMovers(add adder) {
	balancing := r.text("proc/sys/kernel/numa_balancing")
	add("NUMA balancing", cmp.Or(named(balancing, "off", "on", "tiering", "on, tiering"), "not in this kernel"), balancing != "" && balancing != "0",
		"the kernel unmaps pages to see which threads use them, and moves both: sysctl kernel.numa_balancing=0")
	reclaim := r.text("proc/sys/vm/zone_reclaim_mode")
	add("zone reclaim", cmp.Or(named(reclaim, "off"), reclaim), reclaim != "" && reclaim != "0",
		"a full node frees page cache before another node is asked, which takes long: sysctl vm.zone_reclaim_mode=0")
	if demotion := r.text("sys/kernel/mm/numa/demotion_enabled"); demotion != "" {
		on := demotion == "true" || demotion == "1"
		add("demotion", map[bool]string{true: "on", false: "off"}[on], on,
			"under pressure pages move to slower nodes: echo false > /sys/kernel/mm/numa/demotion_enabled")
	}
	pages := Chosen(r.text("sys/kernel/mm/transparent_hugepage/enabled"))
	add("transparent huge pages", pages, pages == "always",
		"one touch places 2 MiB, and khugepaged merges pages while you measure: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled")
	if ksm := r.text("sys/kernel/mm/ksm/run"); ksm == "1" {
		add("same-page merging", "on", true, "equal pages are merged and copied when written: echo 0 > /sys/kernel/mm/ksm/run")
	}
}

func (r reader) findSpeed(m *Machine, add adder) {
	threads := 1
	for _, c := range m.cpus {
		threads = max(threads, len(r.core(c.id)))
	}
	add("CPUs in a core", strconv.Itoa(threads), threads > 1,
		"threads of one core share its units and caches: -pin scatter gives each core one thread before any gets two")
	var governors []string
	for _, c := range m.cpus {
		governors = append(governors, r.cpu(c.id, "cpufreq/scaling_governor"))
	}
	slices.Sort(governors)
	governors = slices.Compact(slices.DeleteFunc(governors, func(s string) bool { return s == "" }))
	add("frequency governor", strings.Join(governors, ", "), len(governors) > 0 && !slices.Equal(governors, []string{"performance"}),
		"the clock follows the load: cpupower frequency-set -g performance")
	boost := r.text(cpuDir + "cpufreq/boost")
	if off := r.text(cpuDir + "intel_pstate/no_turbo"); off != "" {
		boost = map[string]string{"0": "1", "1": "0"}[off]
	}
	if boost != "" {
		add("boost", named(boost, "off", "on"), boost != "0",
			"the clock falls as more CPUs are busy, and scaling curves with it: echo 0 > /sys/devices/system/cpu/cpufreq/boost, or 1 > intel_pstate/no_turbo")
	}
	if flags := r.field("proc/cpuinfo", "flags"); flags != "" {
		virtual := slices.Contains(strings.Fields(flags), "hypervisor")
		add("virtual machine", map[bool]string{true: "yes", false: "no"}[virtual], virtual,
			"neighbours take time, and the nodes may be the hypervisor's own: repeat the measurement, and look at the spread")
	}
	load := r.text("proc/loadavg")
	first, _, _ := strings.Cut(load, " ")
	x, err := strconv.ParseFloat(first, 64)
	add("load average", first, err == nil && x > float64(m.CPUCount())/2, "other programs want the CPUs: wait until they are done")
}

// named puts names for the numbers 0, 1 and so on. A value without a name stays as it is.
func named(value string, names ...string) string {
	if i, err := strconv.Atoi(value); err == nil && i >= 0 && i < len(names) {
		return names[i]
	}
	return value
}

// Chosen returns the bracketed word of a sysfs choice like "always [madvise] never".
func Chosen(text string) string {
	_, rest, ok := strings.Cut(text, "[")
	if !ok {
		return text
	}
	word, _, _ := strings.Cut(rest, "]")
	return word
}
