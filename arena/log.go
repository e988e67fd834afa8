package arena

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
)

// hostLog has what is to be told about the host: to the arena's logger, or to one that comes later.
type hostLog struct {
	mu     sync.Mutex // a leaf: no logger is called under it
	logger *slog.Logger
	events []hostEvent
}

// A hostEvent is one such thing. The first two attributes, a name and its value, tell it from
// others with the same text.
type hostEvent struct {
	level slog.Level
	text  string
	attrs []any
}

// key is what two events have in common that are logged once.
func (e hostEvent) key() string { return fmt.Sprint(e.text, e.attrs[:2]) }

// logged has the events that were logged, each a loggedEvent. A program has few loggers.
var logged sync.Map

type loggedEvent struct {
	logger *slog.Logger
	key    string
}

// logOnce logs an event unless the logger had it before, from this arena or another.
func logOnce(l *slog.Logger, e hostEvent) {
	if _, before := logged.LoadOrStore(loggedEvent{l, e.key()}, true); !before {
		l.Log(context.Background(), e.level, e.text, e.attrs...)
	}
}

// SetLogger replaces Config.Logger, also of the default arena. The new logger is told what was
// found so far, on the calling goroutine, unless it has been told before. nil logs nothing. Any
// goroutine.
func (a *Arena) SetLogger(l *slog.Logger) {
	a.host.mu.Lock()
	a.host.logger = l
	events := slices.Clone(a.host.events)
	a.host.mu.Unlock()
	if l == nil {
		return
	}
	for _, e := range events {
		logOnce(l, e)
	}
}

// LogHost logs a warning about the host once, now or when the arena gets a logger. The first two of
// attrs, a name and its value, tell it from others with the same text. For allocators.
func (a *Arena) LogHost(text string, attrs ...any) {
	a.noteHost(hostEvent{slog.LevelWarn, text, attrs})
}

func (a *Arena) noteHost(e hostEvent) {
	h := &a.host
	h.mu.Lock()
	known := slices.ContainsFunc(h.events, func(other hostEvent) bool { return other.key() == e.key() })
	if !known {
		h.events = append(h.events, e)
	}
	l := h.logger
	h.mu.Unlock()
	if !known && l != nil {
		logOnce(l, e)
	}
}

// logHost logs where the host gives less than the config asks for.
func (a *Arena) logHost() {
	if source := a.topo.Source(); source != "sysfs" {
		a.LogHost("slubd: the NUMA topology is assumed", "source", source)
	}
	if a.topo != a.cfg.Topology {
		a.LogHost("slubd: the process is bound to some nodes, and takes no memory from the others",
			"nodes", fmt.Sprint(a.topo.Fallback(a.topo.Nodes()[0])))
	}
	for _, d := range a.topo.CrossCheck() {
		a.LogHost("slubd: sysfs and the processor disagree",
			"fact", d.Fact, "sysfs", d.Sysfs, "source", d.Source, "other", d.Other)
	}
	for i := range a.zones {
		z := &a.zones[i]
		if a.binds() && strings.HasPrefix(z.placement, "first-touch: ") {
			a.LogHost("slubd: the kernel won't place memory", "node", int(z.node), "placement", z.placement)
		}
	}
}

// logFollows logs that the limit follows a reading of total bytes.
func (a *Arena) logFollows(total int64) {
	e := hostEvent{slog.LevelInfo, "slubd: the arena's limit follows what the process may have",
		[]any{"arena", a.cfg.Name, "limit", a.Limit(), "available", total}}
	if total == Unlimited {
		e.level, e.text = slog.LevelWarn, "slubd: nothing says how much memory the process may have, the arena has no limit"
		e.attrs = e.attrs[:2]
	}
	a.noteHost(e)
}
