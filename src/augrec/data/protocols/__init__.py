"""Ways to split interactions into what is learnt from and what it is judged by; one file is one
protocol.

`prepare.split.protocol` in params.yaml names one. Each says what it promises (`base.Rules`), and
the expectations on the splits hold its tables against that.

| protocol | trained on | judged by | order | strangers |
|---|---|---|---|---|
| time | before a cut, users not held out | held-out users at moments after it | global | yes |
| leave_last_out | all but each user's last two items | the last (test), the one before (valid) |
user | no |
| random | the rest of each user's items | a random share of each user's items | none | no |
| k_fold | the other folds' users | the later items of this fold's users | user | yes |
| held_out_users | users not held out | the later items of held-out users | user | yes |
| cold_items, by the cuts | before a cut | items first met after it | global | no |
| cold_items, by a share | all other items | a random share of the items | none | no |

**Order** tells how far training and judging lie apart in time. *global*: training rows lie before a
cut and targets after it, as in production. *user*: each user's history lies before their targets,
but other users' training rows may be later, so a model can know fashions to come. *none*: not even
that. Numbers of different protocols cannot be compared, and only *global* says what a model is
worth tomorrow.

**Features** follow: a user's features are made of their own earlier rows, but of training rows
alone under *none*; an item's are made of earlier rows of everybody who is not held out under
*global*, of training rows alone otherwise.

**New items** are ranked among themselves by the evaluate stage; under every other protocol the full
catalogue competes.

**Strangers** are users that nothing was learnt of. Without them the audit has no people whom a
generator never saw: its attack cannot be measured, and no synthetic data is accepted.
"""
