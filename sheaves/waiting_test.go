package sheaves

import (
	"testing"

	"github.com/slubd/slubd/rcu"
)

// startedSheaf is a sheaf whose grace period begins now.
func startedSheaf(d *rcu.Domain) *sheaf { return &sheaf{token: d.Start()} }

// TestReadySheavesComeHome: a CPU gets the youngest ready sheaf that it has filled itself, although
// another CPU has filled one since, and the other one's when its own are used up. A callback gets
// the youngest of all.
func TestReadySheavesComeHome(t *testing.T) {
	for name, take := range map[string]func(*waitLists, *rcu.Domain) *sheaf{
		"allocation": (*waitLists).takeReady,
		"callback":   (*waitLists).takeYoungest,
	} {
		own := newRig(t, 1).cpu // the test stays there
		other := own + 1        // its list; there need not be such a CPU
		var w waitLists
		var d rcu.Domain
		var parked [3]*sheaf
		for i, cpu := range []int{own, own, other} {
			parked[i] = startedSheaf(&d)
			w.park(parked[i], cpu)
		}
		want := [...]int{1, 0, 2}
		if name == "callback" {
			want = [...]int{2, 1, 0}
		}
		for n, i := range want {
			if waits := w.waits(); waits != len(want)-n || !w.anyWaiting() {
				t.Errorf("%s: %d sheaves wait, want %d", name, waits, len(want)-n)
			}
			if s := take(&w, &d); s != parked[i] {
				t.Errorf("%s: number %d to be taken is %p, want %p", name, n, s, parked[i])
			}
		}
		if s := take(&w, &d); s != nil || w.anyWaiting() || w.waits() != 0 {
			t.Errorf("%s: %p was taken of no sheaf, or some still count", name, s)
		}
	}
}

// TestEveryWaitList: what any CPU has parked is found by takeAll, takeStale and addTo, and not
// before its grace period is over.
func TestEveryWaitList(t *testing.T) {
	var d rcu.Domain
	reader := d.Register("test")
	defer reader.Close()
	for cpu := range shards {
		var w waitLists
		old, young := startedSheaf(&d), startedSheaf(&d)
		w.park(old, cpu)
		if s := w.takeAll(&d); s != nil {
			t.Errorf("CPU %d: %p was taken under a reader", cpu, s)
		}
		reader.Quiescent()
		if s := w.takeStale(&d); s != nil {
			t.Errorf("CPU %d: %p is stale at the first look", cpu, s)
		}
		w.park(young, cpu)
		var o BarnStats
		if w.addTo(&o); o.Waiting != 2 {
			t.Errorf("CPU %d: %d sheaves wait, want 2", cpu, o.Waiting)
		}
		if s := w.takeStale(&d); s != old || s.next != nil {
			t.Errorf("CPU %d: %p is stale, want %p", cpu, s, old)
		}
		if s := w.takeAll(&d); s != young || s.next != nil {
			t.Errorf("CPU %d: %p was left, want %p", cpu, s, young)
		}
	}
}

// TestMoreThan: too many waiting sheaves are found, with a few sheaves' delay for each list.
func TestMoreThan(t *testing.T) {
	var d rcu.Domain
	for _, most := range []int{None, 0, 1, 2, 100} {
		var w waitLists
		for n := 1; n <= most+1 || n == 1; n++ {
			w.park(startedSheaf(&d), 0)
			if got, want := w.moreThan(most, 0), n > most; got != want {
				t.Fatalf("%d sheaves of one CPU wait, of at most %d: %t", n, most, got)
			}
		}
	}
	var w waitLists
	n, found := 0, 0 // how many wait, and at how many that was found to be too many
	for cpu := range shards {
		for range 40 { // each list has its share or less
			w.park(startedSheaf(&d), cpu)
			n++
			if more := w.moreThan(200, cpu); more && n <= 200 {
				t.Fatalf("%d of 200 sheaves are too many", n)
			} else if more && found == 0 {
				found = n
			}
		}
	}
	if found == 0 || found > 200+shards*waitsLook {
		t.Errorf("more than 200 sheaves were found when %d waited", found)
	}
}
