package arena

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/slubd/slubd/internal/sys"
)

// TestHostIsLoggedOnce: a logger is told once that the kernel refuses to place memory, with the
// node, however many arenas have the logger.
func TestHostIsLoggedOnce(t *testing.T) {
	var text bytes.Buffer
	l := slog.New(slog.NewTextHandler(&text, nil))
	defer sys.FailNth(sys.CallMbind, 0, syscall.EPERM)()
	for range 2 {
		open(t, Config{Logger: l, Topology: nodes(t, 0)})
	}
	const want = "the kernel won't place memory"
	if n := strings.Count(text.String(), want); n != 1 || !strings.Contains(text.String(), "node=0") {
		t.Errorf("logged %d times: %s", n, &text)
	}
}

// TestLoggerThatComesLater: a logger that an arena gets is told what was found before and what
// comes after, each once.
func TestLoggerThatComesLater(t *testing.T) {
	a := open(t, Config{})
	a.LogHost("event", "fact", 1, "more", 2)
	a.LogHost("event", "fact", 1, "more", 3) // the same
	var first, second bytes.Buffer
	one, two := slog.New(slog.NewTextHandler(&first, nil)), slog.New(slog.NewTextHandler(&second, nil))
	for range 2 {
		a.SetLogger(one)
		a.LogHost("event", "fact", 2, "more", 2)
	}
	a.SetLogger(two)
	a.SetLogger(nil)
	a.LogHost("event", "fact", 3, "more", 2)
	for _, want := range []string{"level=WARN msg=event fact=1 more=2\n", "level=WARN msg=event fact=2 more=2\n"} {
		if strings.Count(first.String(), want) != 1 || strings.Count(second.String(), want) != 1 {
			t.Errorf("logged %s and %s, want %s", &first, &second, want)
		}
	}
	if n := strings.Count(first.String()+second.String(), "msg=event"); n != 4 {
		t.Errorf("%d events are logged, want 4", n)
	}
}

// TestFollowedLimitIsLogged: for each arena that follows once, with its limit.
func TestFollowedLimitIsLogged(t *testing.T) {
	var text bytes.Buffer
	total := int64(64 << 30)
	a := open(t, Config{Name: "followed", Limit: FollowMemory, Logger: slog.New(slog.NewTextHandler(&text, nil)),
		watch: testHost(func() int64 { return total })})
	total = 32 << 30
	a.SetLimit(FollowMemory)
	want := fmt.Sprintf("level=INFO msg=\"slubd: the arena's limit follows what the process may have\" arena=followed "+
		"limit=%d available=%d\n", followedLimit(64<<30, 0), int64(64<<30))
	if !strings.HasSuffix(text.String(), want) || strings.Count(text.String(), "follows") != 1 {
		t.Errorf("logged %s, want once %s", &text, want)
	}
	total = 0
	a.SetLimit(FollowMemory)
	if !strings.Contains(text.String(), "level=WARN msg=\"slubd: nothing says how much memory") {
		t.Errorf("on an unknown host: %s", &text)
	}
}

// TestNoNoticesAreLogged: an arena whose shrinkers may be called late says so, and why.
func TestNoNoticesAreLogged(t *testing.T) {
	var text lockedBuffer
	w, _, _ := pressureHost(true)
	w.pressure.open = func() (notices, bool, error) { return nil, false, syscall.EROFS }
	a := open(t, Config{Logger: slog.New(slog.NewTextHandler(&text, nil)), watch: w})
	counter(t, a, func() {})
	eventually(t, "it is logged", func() bool { return strings.Contains(text.String(), syscall.EROFS.Error()) })
}

// A lockedBuffer may be written and read by several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
