package debugpage

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/slubd/slubd/slub"
)

// WriteSlabinfo writes all caches as the kernel's /proc/slabinfo shows its own (version 2.1), for
// tools that read such a file: node_exporter's slabinfo collector with --path.procfs set to the
// directory of a file of that name, or slabtop with the file mounted over /proc/slabinfo. As in the
// kernel, objects in sheaves and barns count as active. Size classes that were never used are left
// out. Any goroutine. The error is w's.
func WriteSlabinfo(w io.Writer) error {
	var out bytes.Buffer
	out.WriteString("slabinfo - version: 2.1\n")
	out.WriteString("# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> " +
		"<batchcount> <sharedfactor> : slabdata <active_slabs> <num_slabs> <sharedavail>\n")
	for c := range slub.Caches() {
		s := c.Stats()
		if unused(s) {
			continue
		}
		var objects, free, slabs uint64
		for _, n := range s.Nodes {
			objects, free, slabs = objects+n.Objects, free+n.FreeInSlabs, slabs+n.Slabs
		}
		fmt.Fprintf(&out, "%-17s %6d %6d %6d %4d %4d : tunables %4d %4d %4d : slabdata %6d %6d %6d\n",
			s.Name, objects-min(free, objects), objects, s.SlotSize, s.ObjectsPerSlab, 1<<s.Order, 0, 0, 0, slabs, slabs, 0)
	}
	_, err := w.Write(out.Bytes())
	return err
}

// unused reports whether a cache is a size class of Buckets that has had no slab, no failed
// allocation and no foreign pointer to free.
func unused(s slub.Stats) bool {
	class := s.Backlog.ID != s.ID // those of Buckets have their backlog in common
	return class && s.Events[slub.AllocSlab] == 0 && s.AllocFailures == 0 && s.ForeignFrees == 0
}

// WriteCounters writes a cache's counters in the kernel's order and form: name, sum over CPUs, and
// each CPU's part if there is one.
//
//	alloc_fastpath 19200 C0=12000 C1=7200
//
// The sum has what Locals do as well, which belongs to no CPU. Any goroutine. The error is w's.
func WriteCounters(w io.Writer, c *slub.Cache) error {
	sums, cpus := c.Stats().Events, c.CPUStats()
	var out strings.Builder
	for e := range slub.NumEvents {
		fmt.Fprintf(&out, "%s %d", e, sums[e])
		for _, cpu := range cpus {
			if n := cpu.Events[e]; n > 0 {
				fmt.Fprintf(&out, " C%d=%d", cpu.CPU, n)
			}
		}
		out.WriteByte('\n')
	}
	_, err := io.WriteString(w, out.String())
	return err
}
