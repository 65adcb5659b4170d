"""Protocols that split interactions into training rows and evaluation cases; one file is one
protocol.

`prepare.split.protocol` in params.yaml names one. Each states the properties that it guarantees
(`base.Rules`), and the expectations of Great Expectations check the tables for them.

| protocol | training rows | targets | order | users held out |
|---|---|---|---|---|
| time | before a cut, users not held out | held-out users, after the cut | global | yes |
| leave_last_out | all but each user's last two instants | the last two instants | user | no |
| random | the rest of each user's items | random share of each user's instants | none | no |
| k_fold | users of the other folds | later items of this fold's users | user | yes |
| held_out_users | users not held out | later items of held-out users | user | yes |
| cold_items, by the cuts | before a cut | items that first occur after it | global | no |
| cold_items, by a share | all other items | random share of the items | none | no |

**Order**: how training rows and targets are separated in time. *global*: training rows are before a
cut and targets after it, as in production. *user*: each user's history is before their targets, but
training rows of other users may be later, so that a model can learn future trends. *none*: no
separation. Metrics of different protocols cannot be compared, and only *global* shows how good a
model will be in production.

**Instants** (`augrec.data.instants`) are never cut: of the rows of a user that share a timestamp,
all are history or all are targets. Without ties each item is an instant of its own.

**Features** respect the order: features of a user are computed from their own earlier rows, under
*none* only from training rows; features of an item under *global* from earlier rows of all users
who are not held out, otherwise only from training rows.

**New items** are ranked among themselves by the stage `evaluate`; under all other protocols items
are ranked among the full catalogue.

**Held-out users** are in no training row. Without them, the audit has no users whom a generator
never saw: its membership attack cannot be measured, and no synthetic data is accepted.
"""
