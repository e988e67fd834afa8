package machine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/slubd/slubd/internal/testutil"
)

func describe(places []Place) string {
	var list []string
	for _, p := range places {
		text := fmt.Sprintf("%d@%d", p.ID, p.CPU)
		if p.MemoryOnly {
			text += "m"
		}
		list = append(list, text)
	}
	return strings.Join(list, " ")
}

func TestNodePlaces(t *testing.T) {
	small := files(testutil.SysFS(
		testutil.SysNode{ID: 0, CPUs: []int{0}, Memory: gib, Distance: []int{10, 20, 40}},
		testutil.SysNode{ID: 1, CPUs: []int{1}, Distance: []int{20, 10, 30}},
		testutil.SysNode{ID: 3, Memory: gib, Distance: []int{40, 30, 10}}), nil)
	for _, c := range []struct{ got, want string }{
		{describe(Read(twoSockets(nil)).NodePlaces()), "0@0 1@4 2@8 3@12 4@0m"},
		{describe(Read(twoSockets(map[string]string{"proc/self/status": "Cpus_allowed_list:\t5-8"})).NodePlaces()), "0@5m 1@5 2@8 3@8m 4@5m"},
		{describe(Read(small).NodePlaces()), "0@0 1@1 3@1m"},
		{describe(Read(files(testutil.SysFS(testutil.SysNode{CPUs: []int{0}, Memory: gib}), nil)).NodePlaces()), "0@0"},
	} {
		if c.got != c.want {
			t.Errorf("%s, want %s", c.got, c.want)
		}
	}
}

func TestGroupPlaces(t *testing.T) {
	places, note := Read(twoSockets(nil)).GroupPlaces()
	if got := describe(places); got != "0@0 1@2 2@4 3@6 4@8 5@10 6@12 7@14" || note != "" {
		t.Errorf("%s, %q", got, note)
	}
	// 24 groups: one on node 0, 12 on node 1, 11 on node 2.
	tree := map[string]string{}
	var cpus [3][]int
	for c := range 24 {
		node := min(c, 1) + c/13
		cpus[node] = append(cpus[node], c)
		tree[fmt.Sprintf("sys/devices/system/cpu/cpu%d/cache/index0/level", c)] = "3"
		tree[fmt.Sprintf("sys/devices/system/cpu/cpu%d/cache/index0/shared_cpu_list", c)] = fmt.Sprint(c)
	}
	var nodes []testutil.SysNode
	for i, list := range cpus {
		nodes = append(nodes, testutil.SysNode{ID: i, CPUs: list, Memory: gib})
	}
	places, note = Read(files(testutil.SysFS(nodes...), tree)).GroupPlaces()
	if got := describe(places); got != "0@0 1@1 2@2 3@3 4@4 5@5 6@6 7@7 8@8 9@9 10@10 11@11" || !strings.Contains(note, "12 of 24") {
		t.Errorf("%s, %q", got, note)
	}
	if places, _ := Read(files(testutil.SysFS(testutil.SysNode{CPUs: []int{0}, Memory: gib}), nil)).GroupPlaces(); len(places) != 0 {
		t.Errorf("%+v", places)
	}
}
