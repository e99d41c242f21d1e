"""The coefficients that a simulated study of knees is drawn with, in plain units: the truth, in full."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Finding:
    """How severe one finding of a knee is at baseline, before values below 0 (no finding) become 0.

    Args:
        start: in a knee of mean severity at the mean age.
        severity: more for each SD of the knee's severity.
        age: more for each SD of age.
        spread: SD of what is the finding's own.
        shared: share of that variance which both knees of a person have in common.
        growth: more each year for each SD of the knee's severity.
        wander: SD of the change from year to year beside that.
    """

    start: float
    severity: float = 0.0
    age: float = 0.0
    spread: float
    shared: float = 0.0
    growth: float = 0.0
    wander: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Population:
    """The coefficients that a simulated study is drawn with; SD of age and of BMI are those given here.

    Args:
        age, age_sd, youngest, oldest: years.
        bmi, bmi_sd, leanest, heaviest: kg/m^2.
        women: share.
        site_age, site_bmi: more with each site: a confounder, since scanners differ as well.
        severity_age, severity_bmi: of a person, for each SD; severity_female: for women; severity_person and
            severity_knee: SD of the parts that are the person's and the knee's own. Severity has a variance near 1.
        effusion, marrow, thinning: findings that follow severity.
        osteophytes: the decoy, which follows age and nothing else, and causes nothing.
        most: no finding is more severe than this.
        loss_start, loss_marrow, loss_effusion, loss_bmi, loss_knee, loss_year: cartilage lost in a year, in units
            of thinning, is the positive part of start + marrow, effusion (each at baseline) and SD of BMI times
            theirs + the knee's own rate (SD) + the year's (SD).
        progression: a loss beyond this is progression.
        pain_start, pain_effusion, pain_marrow, pain_sensitivity, pain_knee, pain_memory: pressure to feel pain is
            start + effusion and marrow at the visit times theirs + the person's sensitivity (SD) + the knee's own
            state (SD), whose correlation from year to year is the memory.
        pain_bend: of a pressure p above 0, WOMAC is 20 (1 - exp(-p / bend)), rounded.
        painful: a WOMAC from here on counts as pain.
        leave_start, leave_age, leave_pain: log odds to leave within a year, for each SD of age, and for each point
            of WOMAC in the worse knee.
        misread: SD of a reader's error, in grades.
    """

    age: float = 62.0
    age_sd: float = 9.0
    youngest: float = 45.0
    oldest: float = 79.0
    bmi: float = 28.5
    bmi_sd: float = 4.5
    leanest: float = 17.0
    heaviest: float = 45.0
    women: float = 0.58
    site_age: float = 2.0
    site_bmi: float = 1.0
    severity_age: float = 0.2
    severity_bmi: float = 0.22
    severity_female: float = 0.2
    severity_person: float = 0.71
    severity_knee: float = 0.63
    effusion: Finding = Finding(start=-0.36, severity=0.65, spread=0.19, growth=0.09, wander=0.05)
    marrow: Finding = Finding(start=-0.36, severity=0.65, spread=0.19, growth=0.09, wander=0.05)
    thinning: Finding = Finding(start=-0.45, severity=0.60, spread=0.12)
    osteophytes: Finding = Finding(start=-0.70, age=0.50, spread=0.40, shared=0.85, wander=0.03)
    most: float = 1.2
    loss_start: float = -0.05
    loss_marrow: float = 0.155
    loss_effusion: float = 0.09
    loss_bmi: float = 0.01
    loss_knee: float = 0.09
    loss_year: float = 0.03
    progression: float = 0.3
    pain_start: float = -2.45
    pain_effusion: float = 12.0
    pain_marrow: float = 12.0
    pain_sensitivity: float = 4.0
    pain_knee: float = 1.3
    pain_memory: float = 0.57
    pain_bend: float = 10.0
    painful: int = 4
    leave_start: float = -3.4
    leave_age: float = 0.3
    leave_pain: float = 0.06
    misread: float = 0.35
