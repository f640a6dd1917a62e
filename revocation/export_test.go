package revocation

import (
	"context"
	"time"
)

// Stepper does what [Engine.Run] does, one step at a time, for tests that say when each is taken.
type Stepper struct {
	engine *Engine
	plan   *plan
}

// NewStepper is an engine that has just been started.
func NewStepper(e *Engine) *Stepper { return &Stepper{e, newPlan(e.pacing())} }

// Step takes the next step. Where that is to sleep it does nothing but say so.
func (s *Stepper) Step(ctx context.Context) (idle bool, err error) {
	s.engine.takeHints(s.plan)
	a := s.plan.step(time.Now())
	if a.kind == sleep {
		return true, nil
	}
	return false, s.engine.act(ctx, s.plan, a)
}
