"""Interview questions, each with a short answer, a follow-up and a proof that runs.

`card` says what a card is, `cards` holds them by topic, `deck` finds them; `schedule` says
when one comes again, and `state` keeps that in a file.
"""
