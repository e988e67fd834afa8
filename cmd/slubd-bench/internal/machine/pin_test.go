package machine

import (
	"errors"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/slubd/slubd/internal/testutil"
)

func TestOrder(t *testing.T) {
	whole := Read(twoSockets(nil))
	some := Read(twoSockets(map[string]string{"proc/self/status": "Cpus_allowed_list:\t1-2,5,17"}))
	flat := Read(files(testutil.SysFS(testutil.SysNode{CPUs: []int{0, 2}, Memory: gib}, testutil.SysNode{ID: 1, CPUs: []int{1, 3}, Memory: gib}), nil))
	for _, c := range []struct {
		m     *Machine
		pin   string
		first []int // of the order
		n     int   // its length
	}{
		{whole, "none", nil, 0},
		{whole, "", nil, 0},
		{whole, "compact", []int{0, 16, 1, 17, 2, 18, 3, 19, 4, 20}, 32},
		{whole, "scatter", []int{0, 4, 8, 12, 2, 6, 10, 14, 1, 5, 9, 13, 3, 7, 11, 15, 16, 20}, 32},
		{whole, "9,3-5,9,0", []int{9, 3, 4, 5, 0}, 5},
		{some, "compact", []int{1, 17, 2, 5}, 4},
		{some, "scatter", []int{1, 5, 2, 17}, 4},
		{flat, "compact", []int{0, 2, 1, 3}, 4},
		{flat, "scatter", []int{0, 1, 2, 3}, 4},
	} {
		got, err := c.m.Order(c.pin)
		if err != nil || len(got) != c.n || !slices.Equal(got[:len(c.first)], c.first) {
			t.Errorf("%q: %v, %v", c.pin, got, err)
		}
	}
}

func TestOrderRefuses(t *testing.T) {
	m := Read(twoSockets(map[string]string{"proc/self/status": "Cpus_allowed_list:\t0-3"}))
	for _, pin := range []string{"4", "0,99", "x", "3-1", "0,,1", "-1", "99999999"} {
		if got, err := m.Order(pin); !errors.Is(err, ErrPin) {
			t.Errorf("%q: %v, %v", pin, got, err)
		}
	}
	unknown := &Machine{}
	if _, err := unknown.Order(PinCompact); !errors.Is(err, ErrPin) {
		t.Error(err)
	}
	// The topology that package numa assumes.
	if got, err := Read(fstest.MapFS{}).Order(PinCompact); err != nil || len(got) == 0 {
		t.Errorf("%v, %v", got, err)
	}
}
