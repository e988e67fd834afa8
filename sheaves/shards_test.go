package sheaves

import (
	"slices"
	"testing"

	"github.com/slubd/slubd/internal/percpu"
)

// TestSheavesComeHome: a CPU gets the sheaf from the barn that it has put in, although other CPUs
// have put in theirs since.
func TestSheavesComeHome(t *testing.T) {
	r := newRig(t, 1)
	b := &r.barns[0]
	cpus := min(percpu.NumCPU(), shards)
	put := make([][]*sheaf, cpus)
	for cpu := range cpus {
		r.moveTo(cpu)
		for range 2 {
			put[cpu] = append(put[cpu], r.sheafWith(4))
			b.put(put[cpu][len(put[cpu])-1])
		}
	}
	for range 2 {
		for cpu, own := range put {
			r.moveTo(cpu)
			got := b.get()
			if !slices.Contains(own, got) {
				t.Errorf("CPU %d got %p; the CPUs have put in %v", cpu, got, put)
			}
			r.drop(got)
		}
	}
}

// sharded is a list of n sheaves for each number, in the order of the numbers.
func sharded(numbers ...int) (l shardedList, made [][]*sheaf) {
	made = make([][]*sheaf, len(numbers))
	for i, n := range numbers {
		for range n {
			s := new(sheaf)
			made[i] = append(made[i], s)
			l.of[i].push(s)
			l.n++
		}
		l.least[i] = n
	}
	return l, made
}

// TestShardedListHandsOutAll: a CPU without sheaves of its own gets those of every other CPU.
func TestShardedListHandsOutAll(t *testing.T) {
	l, _ := sharded(1, 2, 0, 1, 0, 0, 2, 3)
	l.push(new(sheaf))
	for n := 10; n > 0; n-- {
		if l.n != n || l.pop() == nil {
			t.Fatalf("%d sheaves left, want %d", l.n, n)
		}
	}
	if l.n != 0 || l.pop() != nil {
		t.Errorf("an eleventh of ten; %d left", l.n)
	}
}

// TestShardedListIdle: idle are as many of a CPU's sheaves as were there all the time, and the ones
// that it has not used for longest.
func TestShardedListIdle(t *testing.T) {
	l, made := sharded(0, 3, 2)
	hot := l.popFrom(1)
	l.of[1].push(hot)
	l.n++
	idle := l.takeIdle()
	// Of each CPU the youngest first.
	want := []*sheaf{made[1][1], made[1][0], made[2][1], made[2][0]}
	for _, s := range want {
		if got := idle.pop(); got != s {
			t.Errorf("idle is %p, want %p", got, s)
		}
	}
	if idle.pop() != nil || l.n != 1 || l.of[1].head != hot {
		t.Errorf("%d stay, or others are idle too", l.n)
	}
	if again := l.takeIdle(); again.n != 1 || again.head != hot || l.n != 0 {
		t.Errorf("the last one is idle a period later: %d, and %d stay", again.n, l.n)
	}
}

// TestShardedListShrinks: the limits take from the CPU that has the most; all of them can be taken
// at once.
func TestShardedListShrinks(t *testing.T) {
	l, made := sharded(1, 4, 2)
	for range 3 {
		if s := l.popLongest(); !slices.Contains(slices.Concat(made[1], made[2][1:]), s) {
			t.Errorf("popLongest took %p of %v", s, made)
		}
	}
	all := l.takeAll()
	n := 0
	for all.pop() != nil {
		n++
	}
	if n != 4 || l.n != 0 || l.pop() != nil {
		t.Errorf("took %d of 4, %d stay", n, l.n)
	}
}
