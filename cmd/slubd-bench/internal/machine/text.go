package machine

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/slubd/slubd/internal/cpulist"
)

// Text writes the machine for a person: a table of nodes, one of distances where there are several,
// one of L3 groups, and the findings, those that may spoil a measurement with a mark.
func (m *Machine) Text(w io.Writer) error {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "node\tCPUs\tallowed\tcores\tpackage\tmemory\tfree\t")
	for _, n := range m.Nodes {
		fmt.Fprintf(t, "%d\t%s\t%s\t%d\t%s\t%s\t%s\t\n", n.ID, ids(n.CPUs), ids(n.Allowed), n.Cores, ids(n.Packages), size(n.Memory), size(n.Free))
	}
	if len(m.Nodes) > 1 {
		fmt.Fprint(t, "\ndistance to\t")
		for _, n := range m.Nodes {
			fmt.Fprintf(t, "%d\t", n.ID)
		}
		fmt.Fprintln(t)
		for _, n := range m.Nodes {
			fmt.Fprintf(t, "from node %d\t", n.ID)
			for _, d := range n.Distances {
				fmt.Fprintf(t, "%d\t", d)
			}
			fmt.Fprintln(t)
		}
	}
	if len(m.L3) > 0 {
		fmt.Fprintln(t, "\nL3\tnode\tCPUs\tsize\t")
		for i, g := range m.L3 {
			fmt.Fprintf(t, "%d\t%d\t%s\t%s\t\n", i, g.Node, ids(g.CPUs), cmp.Or(g.Size, "-"))
		}
	}
	fmt.Fprintln(t, "\nwhat may spoil a measurement has a !")
	for _, f := range m.Findings {
		mark := " "
		if f.Spoils {
			mark = "!"
		}
		fmt.Fprintf(t, "%s %s\t%s\t%s\n", mark, f.Fact, f.Value, f.Advice)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for line := range strings.Lines(b.String()) {
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " \n")); err != nil {
			return err
		}
	}
	return nil
}

// ids writes a list of ids, or a dash for none.
func ids(list []int) string { return cmp.Or(cpulist.Format(list), "-") }

// size writes bytes with a unit.
func size(n int64) string {
	if n == 0 {
		return "-"
	}
	x, units := float64(n), "KMGTP"
	unit := ""
	for i := 0; x >= 1024 && i < len(units); i++ {
		x, unit = x/1024, units[i:i+1]+"i"
	}
	return strings.TrimSuffix(fmt.Sprintf("%.1f", x), ".0") + " " + unit + "B"
}
