"""One root takes the place of another, each step on proof."""

from pathlib import Path

from tests.unit.citadel.rig import PlayedAgent, issue, opened, until_done

from hauberk.citadel.state_progress import Stage


async def test_a_root_is_distributed_switched_to_and_the_old_one_retired(tmp_path: Path) -> None:
    with opened(tmp_path) as citadel:
        agent = PlayedAgent(citadel)
        before = await agent.start("web-1")
        (a,) = citadel.trust.x509_authorities
        await citadel.rotate_root("root")
        trusted = citadel.trust.x509_authorities
        assert (len(trusted), trusted[0]) == (2, a)
        assert (await issue(citadel)).chain[1] == before.chain[1]
        await until_done(citadel, agent)
        (b,) = citadel.trust.x509_authorities
        assert b != a
        (await issue(citadel)).chain[1].verify_directly_issued_by(b)
        assert citadel.ground.keys.ids() == {view.id for view in citadel.overview().authorities}
        rotation = citadel.rotation()
        assert rotation is not None
        assert rotation.stage is Stage.DONE
