package slub

import (
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/slubd/slubd/rcu"
	"github.com/slubd/slubd/slub/internal/failslab"
)

// delaysOfTest counts the slow paths that TestNoWaitTakesNoDelay takes itself. It has a method, as
// the name of a function in the test would contain that of the test.
type delaysOfTest struct{ atomic.Int32 }

func (d *delaysOfTest) count(failslab.Path, string) {
	if calledBy("TestNoWaitTakesNoDelay") {
		d.Add(1)
	}
}

// An operation that must not wait takes none of the slow paths that a test can make longer. Timers
// and other goroutines may take them meanwhile.
func TestNoWaitTakesNoDelay(t *testing.T) {
	const n = 5000
	domain := new(rcu.Domain)
	c, err := New(nil, Config{Name: "nowait", Size: 64, Domain: domain})
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewBuckets(nil, BucketsConfig{Name: "nowait", Domain: domain})
	if err != nil {
		t.Fatal(err)
	}
	objs := make([]unsafe.Pointer, n)
	if err := c.AllocBulk(objs); err != nil {
		t.Fatal(err)
	}
	var taken delaysOfTest
	delay := failslab.DelayFunc(taken.count)
	before := failslab.SetDelay(&delay)
	for i, p := range objs {
		if i%2 == 0 {
			c.FreeDeferred(p)
		} else {
			c.FreeRCUNoWait(p)
		}
	}
	got, classes := objs[:0], []unsafe.Pointer{}
	for range n {
		if p, err := c.AllocNoWait(); err == nil {
			got = append(got, p)
		}
		if p, err := b.MallocNoWait(100); err == nil {
			classes = append(classes, p)
		}
	}
	waiting := taken.Load()
	for _, p := range got {
		c.Free(p)
	}
	objs = make([]unsafe.Pointer, n)
	err = c.AllocBulk(objs) // more than the sheaves have
	failslab.SetDelay(before)
	if err != nil {
		t.Fatal(err)
	}
	c.FreeBulk(objs)
	if waiting != 0 {
		t.Errorf("operations that don't wait took %d slow paths", waiting)
	}
	if taken.Load() == 0 {
		t.Error("an AllocBulk took none")
	}
	for _, p := range classes {
		b.Free(p)
	}
	for name, err := range map[string]error{"cache": c.Close(), "buckets": b.Close()} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
