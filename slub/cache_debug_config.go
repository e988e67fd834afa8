package slub

import (
	"fmt"
	"os"

	"github.com/slubd/slubd/arena"
	"github.com/slubd/slubd/internal/configerr"
	"github.com/slubd/slubd/internal/mem"
	"github.com/slubd/slubd/slub/internal/debug"
)

// A DebugAction says what a debug cache does once it has reported something to Hooks.Report, if
// there is that hook. What can be repaired is repaired before: see Config.Debug.
type DebugAction int

const (
	// DebugPanic panics with the *hooks.Report on the goroutine that has found it.
	DebugPanic DebugAction = iota + 1
	// DebugAbort prints the report on standard error and ends the process, even if the caller
	// recovers panics.
	DebugAbort
	// DebugRepair goes on. Without the hook it prints the report on standard error.
	DebugRepair

	allActions = DebugRepair
)

// actionNames are the values of SLUBD_DEBUG_ACTION.
var actionNames = map[string]DebugAction{"": 0, "panic": DebugPanic, "abort": DebugAbort, "repair": DebugRepair}

// debugEnvironment is what SLUBD_DEBUG and SLUBD_DEBUG_ACTION ask for.
type debugEnvironment struct {
	rules  debug.Rules
	action DebugAction
}

// processDebug is that of the process.
var processDebug = readDebugEnvironment()

// readDebugEnvironment reads the environment. What it does not understand it ignores, and says
// so on standard error: a process that is to be debugged runs.
func readDebugEnvironment() (env debugEnvironment) {
	if text := os.Getenv("SLUBD_DEBUG"); text != "" {
		var err error
		if env.rules, err = debug.Parse(text); err != nil {
			fmt.Fprintf(os.Stderr, "slubd: SLUBD_DEBUG: this block is ignored: %v\n", err)
		}
	}
	name := os.Getenv("SLUBD_DEBUG_ACTION")
	action, ok := actionNames[name]
	if !ok {
		warnIgnored("SLUBD_DEBUG_ACTION", fmt.Errorf("%q is neither panic nor abort nor repair", name))
	}
	env.action = action
	return env
}

// checkDebug notes problems with a config's Debug and DebugAction. selects says whether rules make
// a cache of the config a debug cache.
func checkDebug(p *configerr.Problems, text string, action DebugAction, hardened int, selects func(debug.Rules) bool) {
	if text != "" {
		rules, err := debug.Parse(text)
		if err != nil {
			p.Add("Debug", "%v", err)
		}
		if hardened == On && selects(rules) {
			p.Add("Debug", "the cache can't be Hardened as well: FZP finds what a hardened cache finds, and more")
		}
	}
	if action < 0 || action > allActions {
		p.Add("DebugAction", "there is no action %d", action)
	}
}

// debugFlags returns the flags of a debug cache, 0 for another one.
func (c Config) debugFlags() debug.Flags {
	rules := processDebug.rules
	if c.Debug != "" {
		rules, _ = debug.Parse(c.Debug) // Validate has looked at the error
	}
	f, _ := rules.For(c.name())
	if hidesBytes {
		f = hide(f)
	}
	if c.Debug == "" && c.debugLayout(f).Slot > mem.PageSize<<arena.MaxOrder {
		// The environment makes no New fail.
		f &^= debug.RedZone | debug.Poison | debug.Users | debug.Hidden
	}
	return f
}

// hide returns the flags that remain where the address sanitizer hides the bytes beside objects,
// and of free objects. In a cache that is a debug cache even so it gets the room of the red zones
// to hide.
func hide(f debug.Flags) debug.Flags {
	rest := f &^ (debug.RedZone | debug.Poison)
	if rest != 0 && f.Has(debug.RedZone) {
		rest |= debug.Hidden
	}
	return rest
}

// debugLayout returns how a debug cache with the given flags lays out its slots.
func (c Config) debugLayout(f debug.Flags) debug.Layout {
	return debug.NewLayout(f, uintptr(c.Size), c.align(), c.Ctor != nil || c.Flags&TypesafeByRCU != 0)
}

// debugAction returns what follows a report.
func (c Config) debugAction() DebugAction {
	if c.DebugAction != 0 {
		return c.DebugAction
	}
	return processDebug.action
}
