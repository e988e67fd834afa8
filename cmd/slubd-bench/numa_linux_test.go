package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/loops"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/report"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/runner"
	"github.com/slubd/slubd/cmd/slubd-bench/internal/workload"
	"github.com/slubd/slubd/slub"
)

// The tests with NUMA in their name run on any machine, and `make numa` runs them on machines with
// several nodes.

// document runs the command with -json and returns what it prints.
func document(t *testing.T, args ...string) report.Document {
	t.Helper()
	code, stdout, stderr := bench(t, append(args, "-json")...)
	var d report.Document
	if err := json.Unmarshal([]byte(stdout), &d); code != exitOK || err != nil {
		t.Fatalf("%v: exit %d, %v, %s", args, code, err, stderr)
	}
	return d
}

func TestNUMAEnv(t *testing.T) {
	m := machine.System()
	d := document(t, "env")
	if d.Env.NUMA == nil || len(d.Env.NUMA.Nodes) != len(m.Nodes) || len(d.Env.NUMA.Findings) == 0 {
		t.Fatalf("%+v", d.Env.NUMA)
	}
	_, text, _ := bench(t, "env")
	t.Log(text)
	for _, n := range d.Env.NUMA.Nodes {
		if len(n.Distances) != len(m.Nodes) || n.Memory == 0 && m.Topology().HasMemory(n.ID) {
			t.Errorf("%+v", n)
		}
	}
	if several := strings.Contains(text, "distance to"); several != (len(m.Nodes) > 1) {
		t.Errorf("%d nodes, but distances are shown: %v", len(m.Nodes), several)
	}
}

// TestNUMAMatrix wants a cell for each pair of nodes and way to free, with memory that is local.
func TestNUMAMatrix(t *testing.T) {
	m := machine.System()
	places := m.NodePlaces()
	d := document(t, "-numa", "-count", "1", "-benchtime", "10us")
	columns := 0
	for _, p := range places {
		if !p.MemoryOnly {
			columns++
		}
	}
	cells := 0
	engine, _ := slub.Engine()
	for _, c := range d.Matrix {
		if c.By == runner.ByNode {
			cells++
		}
		if c.AllocNs <= 0 || c.FreeNs <= 0 || c.N != 1 {
			t.Errorf("%+v", c)
		}
		switch {
		case c.Objects == 0:
			t.Logf("the kernel doesn't say where objects are: %q", d.Notes)
		case engine != "rseq" && !c.MemoryOnly:
			// The CPU is only guessed.
		case c.Remote > c.Objects/100:
			t.Errorf("%d of %d objects are remote: %+v", c.Remote, c.Objects, c)
		}
	}
	if want := len(places) * columns * len(loops.Methods()); cells != want {
		t.Errorf("%d cells for %d places, %d of which have a CPU", cells, len(places), columns)
	}
	alone := strings.Contains(strings.Join(d.Notes, "\n"), "has one node")
	if alone != (len(m.Nodes) == 1) {
		t.Errorf("%d nodes, notes %q", len(m.Nodes), d.Notes)
	}
	var text strings.Builder
	if err := d.Text(&text); err != nil || !strings.Contains(text.String(), "FreeBulk, 64 bytes") {
		t.Errorf("no table for FreeBulk: %v", err)
	}
	t.Log(text.String())
}

// TestNUMAWorkloads wants each workload to run, or a note that says what it needs.
func TestNUMAWorkloads(t *testing.T) {
	d := document(t, "-run", "^(pair|phase-.*|node-full|cxl)$", "-alloc", "slubd", "-threads", "1", "-count", "1", "-benchtime", "1ms")
	got := map[string]runner.Result{}
	for _, r := range d.Results {
		got[r.Workload] = r
	}
	engine, _ := slub.Engine()
	for name, most := range map[string]float64{"phase-change": 0.01, "phase-untouched": 0.01, "node-full": 0.9, "cxl": 0} {
		r, ran := got[name]
		needs := strings.Contains(strings.Join(d.Notes, "\n"), name+" needs 2 nodes")
		if ran == needs {
			t.Errorf("%s: has run: %v, notes %q", name, ran, d.Notes)
		}
		share, known := r.Extra[workload.RemoteShare].(float64)
		t.Logf("%s: %v ns, remote share %v", name, r.Median, r.Extra[workload.RemoteShare])
		if known && engine == "rseq" && share > most {
			t.Errorf("%s: a share of %v is remote", name, share)
		}
		if name == "node-full" && known && share < 0.1 {
			t.Errorf("%s: a share of %v is remote, but the node may have half", name, share)
		}
	}
	if alone := len(machine.System().Nodes) == 1; alone && len(got) != 1 {
		t.Errorf("one node, and %d workloads ran", len(got))
	}
}
