package runner

import (
	"context"
	"errors"
	"testing"
	"testing/fstest"
	"time"

	"github.com/slubd/slubd/cmd/slubd-bench/internal/machine"
	"github.com/slubd/slubd/internal/cpulist"
	"github.com/slubd/slubd/internal/testutil"
	"github.com/slubd/slubd/numa"
)

// TestMatrixOfGroups measures on a machine whose CPUs are said to have an L3 each, of which one
// doesn't exist.
func TestMatrixOfGroups(t *testing.T) {
	cpus, err := numa.Affinity()
	if err != nil {
		t.Fatal(err)
	}
	const absent = 4095
	two := []int{cpus[0], absent}
	sys := testutil.SysFS(testutil.SysNode{CPUs: two, Memory: 1 << 30})
	tree := fstest.MapFS{}
	for name, file := range sys {
		tree["sys/"+name] = file
	}
	for _, c := range two {
		dir := "sys/devices/system/cpu/cpu" + cpulist.Format([]int{c}) + "/cache/index3/"
		tree[dir+"level"] = testutil.Text("3")
		tree[dir+"shared_cpu_list"] = testutil.Text(cpulist.Format([]int{c}))
	}
	m := machine.Read(tree)
	cfg := Config{BenchTime: time.Microsecond, Count: 2, Seed: 1}
	r, err := Matrix(t.Context(), m, []int{64}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	// One node and one group of two are there: three cells each. The other groups' cells fail.
	if len(r.Matrix) != 6 || len(r.Failures) != 9 || len(r.Notes) == 0 {
		t.Errorf("%d cells, %d failures, notes %q", len(r.Matrix), len(r.Failures), r.Notes)
	}
	for _, c := range r.Matrix {
		if c.N != 2 || c.Alloc != 0 || c.Free != 0 {
			t.Errorf("%+v", c)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := Matrix(ctx, m, []int{64}, cfg); !errors.Is(err, context.Canceled) || len(r.Matrix) != 0 {
		t.Errorf("%d cells, %v", len(r.Matrix), err)
	}
}
