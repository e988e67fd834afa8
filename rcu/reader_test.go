package rcu

import (
	"strings"
	"testing"
	"unsafe"
)

// TestReports: what a reader does during a grace period, and whether that ends the period.
func TestReports(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(d *Domain, r *Reader)
		over bool
	}{
		{name: "nothing", do: func(*Domain, *Reader) {}, over: false},
		{name: "Quiescent", do: func(_ *Domain, r *Reader) { r.Quiescent() }, over: true},
		{name: "Offline", do: func(_ *Domain, r *Reader) { r.Offline() }, over: true},
		{name: "Offline, Online", do: func(_ *Domain, r *Reader) { r.Offline(); r.Online() }, over: true},
		{name: "Online while online", do: func(_ *Domain, r *Reader) { r.Online() }, over: false},
		{name: "Close", do: func(_ *Domain, r *Reader) { r.Close() }, over: true},
		{name: "another registers", do: func(d *Domain, _ *Reader) { d.Register("late") }, over: false},
		{name: "another reports", do: func(d *Domain, _ *Reader) { d.Register("late").Quiescent() }, over: false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var d Domain
			r := d.Register("reader")
			token := d.Start()
			if d.Poll(token) {
				t.Fatal("over at once, with an online reader")
			}
			c.do(&d, r)
			if got := d.Poll(token); got != c.over {
				t.Errorf("over = %v", got)
			}
			if got := d.Poll(token); got != c.over {
				t.Errorf("asked again, over = %v", got)
			}
		})
	}
}

func TestRegisteredReaderIsOnline(t *testing.T) {
	var d Domain
	d.Register("new")
	if d.Poll(d.Start()) {
		t.Error("a reader that has just been registered was not waited for")
	}
}

// TestQuiescentStaysOffline: a report must not turn an offline reader online. Its owner doesn't
// expect grace periods to wait for it.
func TestQuiescentStaysOffline(t *testing.T) {
	var d Domain
	r := d.Register("reader")
	r.Offline()
	d.Start()
	r.Quiescent()
	if s := d.Stats(); s.Online != 0 || !d.Poll(d.Start()) {
		t.Errorf("offline reader went online by reporting: %+v", s)
	}
}

func TestCloseOnce(t *testing.T) {
	var d Domain
	other, r := d.Register("other"), d.Register("reader")
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if s := d.Stats(); s.Readers != 1 || s.Online != 1 || d.list()[0] != other {
		t.Errorf("after closing one of two readers: %+v", s)
	}
	if err := (*Reader)(nil).Close(); err != nil {
		t.Errorf("closing no reader: %v", err)
	}
}

func TestUseAfterClose(t *testing.T) {
	var d Domain
	r := d.Register("gone")
	r.Close()
	for name, method := range map[string]func(){"Quiescent": r.Quiescent, "Offline": r.Offline, "Online": r.Online} {
		wantPanic(t, `rcu: reader "gone": `+name+" after Close", method)
	}
}

// wantPanic calls f, which must panic with a text that contains want.
func wantPanic(t *testing.T, want string, f func()) {
	t.Helper()
	defer func() {
		t.Helper()
		if text, _ := recover().(string); !strings.Contains(text, want) {
			t.Errorf("panic text %q, want %q", text, want)
		}
	}()
	f()
}

// end is where a field ends.
func end(offset, size uintptr) uintptr { return offset + size }

// TestHotWordsAreApart: words that different CPUs write are at least the padding apart, whatever
// the word size.
func TestHotWordsAreApart(t *testing.T) {
	for name, apart := range map[string]uintptr{
		"reader's word and what others write in it": unsafe.Offsetof(Reader{}.stalledAt) - unsafe.Offsetof(Reader{}.word),
		"seq and completed":                         unsafe.Offsetof(Domain{}.completed) - unsafe.Offsetof(Domain{}.seq),
		"completed and the queue":                   unsafe.Offsetof(Domain{}.callbacks) - unsafe.Offsetof(Domain{}.readers),
		"entrance and the queue":                    unsafe.Offsetof(Domain{}.callbacks) - end(unsafe.Offsetof(Domain{}.sections), unsafe.Sizeof(Domain{}.sections)),
		"completed and entrance":                    unsafe.Offsetof(Domain{}.entrance) - end(unsafe.Offsetof(Domain{}.times), unsafe.Sizeof(Domain{}.times)),
		"queue's two sides":                         unsafe.Offsetof(queue{}.taken) - unsafe.Offsetof(queue{}.active),
		"two CPUs' stacks":                          unsafe.Sizeof(stack{}),
		"Enter's words and places":                  unsafe.Offsetof(sections{}.places) - end(unsafe.Offsetof(sections{}.traces), unsafe.Sizeof(sections{}.traces)),
		"places and the driver's words":             unsafe.Offsetof(sections{}.completed) - end(unsafe.Offsetof(sections{}.places), unsafe.Sizeof(sections{}.places)),
	} {
		if apart < padding {
			t.Errorf("%s: %d bytes apart", name, apart)
		}
	}
}
